/** Messages about tapes: files that cannot be used, and what a replay asked for that its tape does not have. @module */
import { counted, quote, say } from "./diagnostic.ts";

/** A call as misses name it. */
interface Call {
  server: string;
  tool: string;
  arguments: unknown;
}

const SHOWN_CHARS = 400;

/** Problems of tapes. `rollout` is a rollout's name on the tape. */
export const tape = {
  missing: (path: string) =>
    say(
      "TAPE_MISSING",
      `Cannot replay tape ${quote(path)}: no such file`,
      "Record one with `--set tape=record`, or say in `tape.path` where it is.",
    ),
  exists: (path: string) =>
    say(
      "TAPE_EXISTS",
      `Cannot record to ${quote(path)}: the file exists, and a tape is never overwritten`,
      "Remove it, or name another file in `tape.path`.",
    ),
  unreadable: (path: string, line: number, cause: string) =>
    say(
      "TAPE_UNREADABLE",
      `Cannot replay tape ${quote(path)}: line ${line} is no line of a tape (${cause})`,
      "Record it anew, or bring the file back as it was written.",
    ),
  newer: (path: string, found: number, known: number) =>
    say(
      "TAPE_NEWER",
      `Cannot replay tape ${quote(path)}: it has version ${found}, and this hone reads up to ${known}`,
      "Update hone, or record the tape anew.",
    ),
  write_failed: (path: string, cause: string) =>
    say(
      "TAPE_WRITE_FAILED",
      `Cannot record to tape ${quote(path)}: ${cause}`,
      "What was acknowledged is on the tape: mend the cause, then `hone resume`.",
    ),
  other_servers: (path: string, taped: string[], declared: string[]) =>
    say(
      "TAPE_OTHER_PIPELINE",
      `Cannot replay tape ${quote(path)}: it is of another pipeline, with the servers ${
        taped.join(", ") || "(none)"
      }, ` +
        `and not ${declared.join(", ") || "(none)"}`,
      "Replay the tape that this pipeline recorded, or record one.",
    ),
  other_tools: (path: string, server: string, changes: string[]) =>
    say(
      "TAPE_OTHER_PIPELINE",
      `Cannot replay tape ${quote(path)}: it was recorded with other tools of server ${quote(server)}:` +
        changes.map((change) => `\n  ${change}`).join(""),
      `Set servers.${server} as it was recorded, or record the tape anew.`,
    ),
  no_replies: (path: string) =>
    say(
      "TAPE_WITHOUT_REPLIES",
      `Cannot replay the model's replies from tape ${quote(path)}: it holds none`,
      "Set `tape.replies: false` to ask the endpoint, or record with `tape.replies: true`.",
    ),
  trains: (rungs: string[]) =>
    say(
      "TAPE_TRAINS",
      `Cannot replay the model's replies in a run that trains (ladder: ${rungs.join(", ")}): ` +
        "what is learned must have been sampled by the policy that learns",
      "Set `tape.replies: false`: then only the servers are replayed.",
    ),
  training: () =>
    say(
      "TAPE_TRAINING",
      "Training on replayed tool results: calls that the tape does not have tell the policy nothing about the server",
    ),
  stale: (path: string, server: string, changes: string[]) =>
    say(
      "TAPE_STALE",
      `Server ${quote(server)} is not what tape ${quote(path)} was recorded with:` +
        changes.map((change) => `\n  ${change}`).join(""),
    ),
  not_repeated: (rollout: string, call: Call, now: string) =>
    say(
      "TAPE_NOT_REPEATED",
      `Rollout ${quote(rollout)} goes on with a live server that answers ${
        named(call)
      } with ${now}, not as the tape has it`,
    ),
  no_rollout: (rollout: string) => say("TAPE_MISS", `The tape has no rollout ${quote(rollout)}`, HINT),
  other_scenario: (rollout: string, scenario: string) =>
    say(
      "TAPE_MISS",
      `The tape has rollout ${quote(rollout)} of another scenario than ${quote(scenario)} is now: ` +
        "its id, setup, tools or observing calls differ",
      HINT,
    ),
  call_missed: (rollout: string, asked: Call, next: Call | undefined) =>
    say(
      "TAPE_MISS",
      `The tape has no such call: rollout ${quote(rollout)} asked ${named(asked)}; ` +
        `the tape has next ${next ? named(next) : "nothing"}`,
      HINT,
    ),
  observation_missed: (rollout: string, judge: string, judges: string[]) =>
    say(
      "TAPE_MISS",
      `The tape has no observation by judge ${quote(judge)} of rollout ${quote(rollout)}; ` +
        `it has those of ${judges.map((one) => quote(one)).join(", ") || "none"}`,
      HINT,
    ),
  reply_missed: (rollout: string, last: string, differs: string[] | null, next: string | undefined) =>
    say(
      "TAPE_MISS",
      `The tape has no such reply: rollout ${quote(rollout)} asked the model after ${last}; the tape has next ` +
        (next === undefined
          ? "nothing"
          : `its reply after ${next}${differs ? ` (not the same: ${differs.join(", ")})` : ""}`),
      "Record the tape anew, or set `tape.replies: false` or `tape.on_miss: live`.",
    ),
  llm_missed: (stage: string, model: string, last: string, near: { of_stage: number; differs: string[] | null }) => {
    const { of_stage, differs } = near;
    const has = of_stage === 0 ? "has none for this stage" : `has ${counted(of_stage, "answer")} for this stage, ` +
      (differs ? `one after that message (not the same: ${differs.join(", ")})` : "none after that message");
    return say(
      "TAPE_MISS",
      `The tape has no such answer: stage ${quote(stage)} asked model ${quote(model)} after ${last}; the tape ${has}`,
      HINT,
    );
  },
};

const HINT = "Record the tape anew, or set `tape.on_miss: live`.";

function named({ server, tool, arguments: given }: Call): string {
  const text = JSON.stringify(given);
  const shown = text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
  return `${server ? `${server}.` : ""}${tool} ${shown}`;
}
