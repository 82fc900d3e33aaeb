/** Messages about tapes: unusable files, and requests of a replay that are not on its tape. @module */
import { counted, quote, say } from "./diagnostic.ts";

/** A call, as the messages about misses show it. */
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
      "Record one with `--set tape=record`, or set `tape.path`.",
    ),
  exists: (path: string) =>
    say(
      "TAPE_EXISTS",
      `Cannot record to ${quote(path)}: the file already exists, and a tape is never overwritten`,
      "Delete it, or set `tape.path` to another file.",
    ),
  unreadable: (path: string, line: number, cause: string) =>
    say(
      "TAPE_UNREADABLE",
      `Cannot replay tape ${quote(path)}: line ${line} is not valid (${cause})`,
      "Record it again, or restore the original file.",
    ),
  newer: (path: string, found: number, known: number) =>
    say(
      "TAPE_NEWER",
      `Cannot replay tape ${quote(path)}: it has version ${found}, and this version of hone supports up to ${known}`,
      "Update hone, or record the tape again.",
    ),
  write_failed: (path: string, cause: string) =>
    say(
      "TAPE_WRITE_FAILED",
      `Cannot record to tape ${quote(path)}: ${cause}`,
      "Acknowledged records are on the tape: fix the cause, then `hone resume`.",
    ),
  other_servers: (path: string, taped: string[], declared: string[]) =>
    say(
      "TAPE_OTHER_PIPELINE",
      `Cannot replay tape ${quote(path)}: it was recorded by another pipeline, with the servers ${
        taped.join(", ") || "(none)"
      }, ` +
        `not ${declared.join(", ") || "(none)"}`,
      "Replay the tape that this pipeline recorded, or record one.",
    ),
  other_tools: (path: string, server: string, changes: string[]) =>
    say(
      "TAPE_OTHER_PIPELINE",
      `Cannot replay tape ${quote(path)}: it was recorded with different tools of server ${quote(server)}:` +
        changes.map((change) => `\n  ${change}`).join(""),
      `Restore the recorded version of servers.${server}, or record the tape again.`,
    ),
  no_replies: (path: string) =>
    say(
      "TAPE_WITHOUT_REPLIES",
      `Cannot replay the model's replies from tape ${quote(path)}: it has none`,
      "Set `tape.replies: false` to ask the endpoint, or record with `tape.replies: true`.",
    ),
  trains: (rungs: string[]) =>
    say(
      "TAPE_TRAINS",
      `Cannot replay the model's replies in a run that trains (ladder: ${rungs.join(", ")}): ` +
        "a policy must be trained on its own samples",
      "Set `tape.replies: false` to replay only the servers.",
    ),
  training: () =>
    say(
      "TAPE_TRAINING",
      "Training on replayed tool results: the policy learns nothing about the server from calls that are not on the tape",
    ),
  stale: (path: string, server: string, changes: string[]) =>
    say(
      "TAPE_STALE",
      `Server ${quote(server)} has changed since tape ${quote(path)} was recorded:` +
        changes.map((change) => `\n  ${change}`).join(""),
    ),
  not_repeated: (rollout: string, call: Call, now: string) =>
    say(
      "TAPE_NOT_REPEATED",
      `Rollout ${quote(rollout)} continues with a live server, which answers ${
        named(call)
      } with ${now}, unlike the tape`,
    ),
  no_rollout: (rollout: string) => say("TAPE_MISS", `The tape has no rollout ${quote(rollout)}`, HINT),
  other_scenario: (rollout: string, scenario: string) =>
    say(
      "TAPE_MISS",
      `The scenario of rollout ${quote(rollout)} on the tape differs from ${quote(scenario)}: ` +
        "its id, setup, tools or observing calls have changed",
      HINT,
    ),
  call_missed: (rollout: string, asked: Call, next: Call | undefined) =>
    say(
      "TAPE_MISS",
      `The tape has no such call: rollout ${quote(rollout)} called ${named(asked)}; ` +
        `next on the tape: ${next ? named(next) : "nothing"}`,
      HINT,
    ),
  observation_missed: (rollout: string, judge: string, judges: string[]) =>
    say(
      "TAPE_MISS",
      `The tape has no observation by judge ${quote(judge)} of rollout ${quote(rollout)}; ` +
        `it has those by ${judges.map((one) => quote(one)).join(", ") || "none"}`,
      HINT,
    ),
  reply_missed: (rollout: string, last: string, differs: string[] | null, next: string | undefined) =>
    say(
      "TAPE_MISS",
      `The tape has no such reply: rollout ${quote(rollout)} asked the model after ${last}; next on the tape: ` +
        (next === undefined
          ? "nothing"
          : `the reply after ${next}${differs ? ` (different: ${differs.join(", ")})` : ""}`),
      "Record the tape again, or set `tape.replies: false` or `tape.on_miss: live`.",
    ),
  llm_missed: (stage: string, model: string, last: string, near: { of_stage: number; differs: string[] | null }) => {
    const { of_stage, differs } = near;
    const has = of_stage === 0 ? "has none for this stage" : `has ${counted(of_stage, "answer")} for this stage, ` +
      (differs ? `one after that message (different: ${differs.join(", ")})` : "none after that message");
    return say(
      "TAPE_MISS",
      `The tape has no such answer: stage ${quote(stage)} asked model ${quote(model)} after ${last}; the tape ${has}`,
      HINT,
    );
  },
};

const HINT = "Record the tape again, or set `tape.on_miss: live`.";

function named({ server, tool, arguments: given }: Call): string {
  const text = JSON.stringify(given);
  const shown = text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text;
  return `${server ? `${server}.` : ""}${tool} ${shown}`;
}
