/** Messages about a run: what ends it, its records, reaching it from another process. @module */
import { quote, say } from "./diagnostic.ts";

const TOKENS_WANTED =
  "Its policy must be `tokens: exact`. For vLLM: send `return_token_ids`, start it with `--logprobs-mode processed_logprobs`; or evaluate only (`ladder: [prompt]`).";

/** What ends a run, or refuses to start it, once the pipeline file is sound. */
export const runner = {
  no_scenarios: (split: string, wanted: string) =>
    say(
      "NO_SCENARIOS",
      `Cannot ${wanted}: the scenario sources gave no scenario of split ${quote(split)}`,
      `Give at least one scenario with \`split: ${split}\`, or leave that part of the pipeline out.`,
    ),
  duplicate_scenario: (id: string) =>
    say(
      "DUPLICATE_SCENARIO",
      `Cannot use scenario ${quote(id)}: two scenarios have this id`,
      "Give every scenario an id of its own.",
    ),
  unknown_tool_in_scenario: (id: string, tool: string, near: string | undefined, known: string[]) =>
    say(
      "UNKNOWN_TOOL",
      `Cannot use scenario ${quote(id)}: it names the tool ${quote(tool)}, which no server of this pipeline has`,
      near
        ? `Did you mean ${quote(near)}?`
        : `Tools found: ${known.slice(0, 12).join(", ")}${known.length > 12 ? ", …" : ""}.`,
    ),
  unknown_part: (id: string, judge: string, known: string[]) =>
    say(
      "UNKNOWN_PART",
      `Cannot use scenario ${quote(id)}: it expects something of judge ${
        quote(judge)
      }, and no judge of that name reads it`,
      `Judges that read a part of a scenario: ${known.join(", ")}.`,
    ),
  bad_part: (id: string, place: string, cause: string) =>
    say("BAD_PART", `Cannot use scenario ${quote(id)}: ${place} is not what its judge reads: ${cause}`),
  no_weights: (stage: string, format: string) =>
    say(
      "NO_WEIGHTS",
      `Cannot export with stage ${
        quote(stage)
      }: the trainer of this pipeline is hosted, and gives no weights (${format})`,
      "Leave the exporter out, or train with trainer/mlx.",
    ),
  catalog_changed: (changes: string[]) =>
    say(
      "CATALOG_CHANGED",
      `Cannot go on: the servers are not what this run began with:${listed(changes)}`,
      "Bring the old servers back (pin their versions under `servers:`), or go on with what there is now: `hone resume --accept-changes`.",
    ),
  catalog_accepted: (changes: string[]) =>
    say("CATALOG_ACCEPTED", `Going on with servers that are not what this run began with:${listed(changes)}`),
  catalog_differs: (changes: string[]) =>
    say("CATALOG_DIFFERS", `The servers are not what this policy was trained with:${listed(changes)}`),
  catalog_notified: (server: string, changes: string[]) =>
    say(
      "CATALOG_NOTIFIED",
      `Server ${quote(server)} changed its tools during the run, which goes on offering what it began with:${
        listed(changes)
      }`,
    ),
  rollout_cannot_demonstrate: (stage: string) =>
    say(
      "ROLLOUT_CANNOT_DEMONSTRATE",
      `Cannot warm-start: the rollout plugin of stage ${quote(stage)} has no \`demonstrate\``,
      "Use rollout/chat, or take `warm_start` out of `ladder`.",
    ),
  no_demonstration: (count: number, reason: string) =>
    say(
      "NO_DEMONSTRATION",
      `Cannot warm-start: none of ${count} reference solutions reached its goal on the real server (${reason})`,
      count === 0
        ? "Give training scenarios a `solution`, or take `warm_start` out of `ladder`."
        : 'Mend the solutions or the checks: `hone query latest "select * from judgements"` shows what the judges saw.',
    ),
  no_valid_reward: (step: number, cause: string) =>
    say(
      "NO_VALID_REWARD",
      `Cannot train on step ${step}: not one rollout has a valid reward (first cause: ${cause})`,
      '`hone query latest "select outcome_end, cause, count(*) from rollouts group by all"` shows what failed; then `hone resume`.',
    ),
  tokens_not_given: (url: string) =>
    say(
      "TOKENS_NOT_GIVEN",
      `Cannot train: the endpoint ${url} does not give the tokens that it sampled`,
      TOKENS_WANTED,
    ),
  tokens_missing: (rollout: string) =>
    say(
      "TOKENS_MISSING",
      `Cannot train on rollout ${quote(rollout)}: the endpoint returned no token ids or logprobs`,
      TOKENS_WANTED,
    ),
  trainer_lost: (reason: string) =>
    say(
      "TRAINER_LOST",
      `Cannot go on: the trainer is gone (${reason})`,
      "Nothing acknowledged is lost: `hone resume` continues from the last step.",
    ),
  stage_failed: (stage: string, use: string, reason: string, place: string | undefined) =>
    say(
      "STAGE_FAILED",
      `Stage ${quote(stage)} (${use}) failed: ${reason}`,
      place && `It was thrown at ${place}.`,
    ),
  nothing_to_evaluate: () =>
    say(
      "NOTHING_TO_RUN",
      "Cannot run: the pipeline has neither a trainer nor `agent.endpoint`",
      "Name a model and a trainer, or an endpoint to evaluate.",
    ),
};

const MOST_LINES = 40;

/** Each on a line of its own, the first ones. */
function listed(lines: string[]): string {
  const more = lines.length > MOST_LINES ? [`and ${lines.length - MOST_LINES} more changes`] : [];
  return [...lines.slice(0, MOST_LINES), ...more].map((line) => `\n  ${line}`).join("");
}

/** Problems of a run's database file. */
export const store = {
  busy: (path: string) =>
    say(
      "RUN_BUSY",
      `Cannot open ${quote(path)}: another process is writing it`,
      "Wait for the run to end, or ask it: `hone query`, `hone watch`, `hone cancel`.",
    ),
  exists: (path: string) =>
    say(
      "RUN_EXISTS",
      `Cannot create ${quote(path)}: it holds the records of a run`,
      "`hone resume` continues it; or choose another folder (`--run-dir`).",
    ),
  missing: (path: string) =>
    say("RUN_MISSING", `Cannot open ${quote(path)}: no such file`, "Name a folder below runs/."),
  cannot_open: (path: string, reason: string) =>
    say("STORE_UNREADABLE", `Cannot open ${quote(path)}: ${reason}`, "Is this the folder of a run?"),
  not_a_run: (path: string) =>
    say("NOT_A_RUN", `Cannot read ${quote(path)}: it is not a run's database`, "Name a folder below runs/."),
  newer: (path: string, found: number, known: number) =>
    say(
      "RUN_NEWER",
      `Cannot read ${quote(path)}: it was written by a newer hone (schema ${found}, this one knows ${known})`,
      "Update hone, or start a new run.",
    ),
  write_failed: (path: string, reason: string) =>
    say(
      "STORE_WRITE_FAILED",
      `Cannot record the run in ${quote(path)}: ${reason}`,
      "Free disk space, then `hone resume`: everything acknowledged before is kept.",
    ),
};

/** Reaching a run from another process. */
export const control = {
  run_locked: (run_dir: string, pid: number) =>
    say(
      "RUN_LOCKED",
      `Cannot run in ${quote(run_dir)}: process ${pid} works on this run`,
      "Wait for it, end it (`hone cancel`), or choose another folder (`--run-dir`).",
    ),
  folder_in_use: (run_dir: string, names: string[]) =>
    say(
      "FOLDER_NOT_EMPTY",
      `Cannot start a run in ${quote(run_dir)}: the folder is not empty (it holds ${names.slice(0, 3).join(", ")}${
        names.length > 3 ? ", …" : ""
      })`,
      "Give --run-dir a folder that is new or empty.",
    ),
  run_starting: (run_dir: string) =>
    say("RUN_STARTING", `Cannot ask the run in ${quote(run_dir)}: it is just starting`, "Try again in a moment."),
  run_not_live: (run_dir: string) =>
    say(
      "RUN_NOT_LIVE",
      `Cannot reach the run in ${quote(run_dir)}: no process works on it`,
      "`hone resume` continues it.",
    ),
  no_such_run: (word: string, runs_dir: string, known: string[]) =>
    say(
      "NO_SUCH_RUN",
      `Cannot find run ${quote(word)} in ${quote(runs_dir)}`,
      known.length
        ? `There ${known.length === 1 ? "is" : "are"}: ${known.slice(0, 8).join(", ")}${known.length > 8 ? ", …" : ""}.`
        : "There is no run yet: `hone run pipeline.yaml` makes one.",
    ),
  not_a_select: (sql: string) =>
    say(
      "NOT_A_QUERY",
      `Cannot run ${quote(sql)}: only queries that read are allowed`,
      "Begin with SELECT, FROM, WITH, DESCRIBE, SHOW or SUMMARIZE.",
    ),
  query_failed: (sql: string, reason: string) =>
    say("QUERY_FAILED", `Cannot run ${quote(sql)}: ${reason}`, '`hone query <run> "show tables"` lists what there is.'),
};
