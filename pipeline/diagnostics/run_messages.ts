/** Messages about a run: its failures, its records, and access from another process. @module */
import { join } from "node:path";
import { counted, quote, say, shellPath, sizeOf } from "./diagnostic.ts";

const TOKENS_WANTED =
  "Its policy must be `tokens: exact`. For vLLM: send `return_token_ids` and start it with `--logprobs-mode processed_logprobs`; or evaluate only (`ladder: [prompt]`).";

/** Pairs of equal scenarios that are named. */
const MOST_PAIRS = 5;

/** Failures of a run, and reasons not to start one, when the pipeline file itself is valid. */
export const runner = {
  rejudged_as_recorded: (ids: string[]) =>
    say(
      "SCENARIOS_CHANGED",
      `${counted(ids.length, "scenario")} (${ids.slice(0, 3).map(quote).join(", ")}${
        ids.length > 3 ? ", …" : ""
      }) had another task or setup when the rollouts attempted them: judged as they were then`,
    ),
  no_scenarios: (split: string, wanted: string) =>
    say(
      "NO_SCENARIOS",
      `Cannot ${wanted}: the scenario sources produced no scenario of split ${quote(split)}`,
      `Add at least one scenario with \`split: ${split}\`, or remove that part of the pipeline.`,
    ),
  splits_overlap: (split: string, pairs: (readonly [string, string])[]) =>
    say(
      "SCENARIOS_OVERLAP",
      `Cannot evaluate on scenarios that training uses too: ${
        pairs.slice(0, MOST_PAIRS).map(([one, other]) =>
          `${quote(one)} (${split}) is the same as ${quote(other)} (train)`
        )
          .join(", ")
      }${pairs.length > MOST_PAIRS ? `, and ${pairs.length - MOST_PAIRS} more` : ""}`,
      "Change or remove them; `evaluate.allow_overlap: true` accepts them.",
    ),
  /** A warning. */
  split_too_small: (split: string, count: number, least: number) =>
    `split ${quote(split)} has ${counted(count, "scenario")}, too few for the verdict to support any claim: ` +
    `at least ${least} are needed, and more if the gain is not large`,
  duplicate_scenario: (id: string) =>
    say(
      "DUPLICATE_SCENARIO",
      `Cannot use scenario ${quote(id)}: two scenarios have this id`,
      "Give every scenario a unique id.",
    ),
  unknown_tool_in_scenario: (id: string, tool: string, near: string | undefined, known: string[]) =>
    say(
      "UNKNOWN_TOOL",
      `Cannot use scenario ${quote(id)}: it names the tool ${quote(tool)}, which no server of this pipeline has`,
      near
        ? `Did you mean ${quote(near)}?`
        : `Tools: ${known.slice(0, 12).join(", ")}${known.length > 12 ? ", …" : ""}.`,
    ),
  unknown_part: (id: string, judge: string, known: string[]) =>
    say(
      "UNKNOWN_PART",
      `Cannot use scenario ${quote(id)}: it has a part for judge ${quote(judge)}, but no judge of that name reads one`,
      `Judges that read one: ${known.join(", ")}.`,
    ),
  bad_part: (id: string, place: string, cause: string) =>
    say("BAD_PART", `Cannot use scenario ${quote(id)}: ${place} does not match its judge's schema: ${cause}`),
  no_weights: (stage: string, format: string) =>
    say(
      "NO_WEIGHTS",
      `Cannot export with stage ${
        quote(stage)
      }: the trainer of this pipeline is hosted and provides no weights (${format})`,
      "Remove the exporter, or train with trainer/mlx or trainer/lightning.",
    ),
  catalog_changed: (changes: string[]) =>
    say(
      "CATALOG_CHANGED",
      `Cannot resume: tools have changed since the run started:${listed(changes)}`,
      "Restore the previous servers (pin their versions under `servers:`), or accept the changes: `hone resume --accept-changes`.",
    ),
  catalog_accepted: (changes: string[]) =>
    say("CATALOG_ACCEPTED", `Resuming although tools have changed since the run started:${listed(changes)}`),
  catalog_differs: (changes: string[]) =>
    say("CATALOG_DIFFERS", `Tools have changed since this policy was trained:${listed(changes)}`),
  catalog_notified: (server: string, changes: string[]) =>
    say(
      "CATALOG_NOTIFIED",
      `Server ${quote(server)} changed its tools during the run; the run continues to offer the original ones:${
        listed(changes)
      }`,
    ),
  rollout_cannot_demonstrate: (stage: string) =>
    say(
      "ROLLOUT_CANNOT_DEMONSTRATE",
      `Cannot warm-start: the rollout plugin of stage ${quote(stage)} has no \`demonstrate\``,
      "Use rollout/chat, or remove `warm_start` from `ladder`.",
    ),
  /** A line of the log. */
  verified_solutions: (verified: number, all: number, unjudged: number, unsupported: string[]) =>
    `${verified} of ${all} reference solutions reach their goal on the real server${
      unjudged > 0 ? `; ${unjudged} could not be judged` : ""
    }${
      unsupported.length > 0
        ? `; ${counted(unsupported.length, "answer")} ${
          unsupported.length === 1 ? "is" : "are"
        } supported by no tool result (first: ${quote(unsupported[0])}; \`hone scenarios check\` lists them)`
        : ""
    }`,
  no_demonstration: (count: number, reason: string, run_dir: string) =>
    say(
      "NO_DEMONSTRATION",
      `Cannot warm-start: none of ${count} reference solutions passed verification on the real server (${reason})`,
      count === 0
        ? "Add a `solution` to training scenarios, or remove `warm_start` from `ladder`."
        : `Fix the solutions or the checks: \`hone query ${
          shellPath(run_dir)
        } "select * from judgements"\` shows the judges' reasons.`,
    ),
  invalid_rewards: (
    step: number,
    invalid: number,
    total: number,
    most: { cause: string; times: number },
    run_dir: string,
  ) =>
    say(
      invalid === total ? "NO_VALID_REWARD" : "MOSTLY_INVALID",
      `Cannot train on step ${step}: ${invalid} of ${total} rewards are invalid (most frequent cause, ${
        counted(most.times, "time")
      }: ${most.cause})`,
      `\`hone query ${
        shellPath(run_dir)
      } "select invalid, count(*) from rewards group by all"\` shows all causes. Remove them${
        invalid === total ? "" : " (or raise train.max_invalid in the run's pipeline.yaml)"
      }, then \`hone resume\`: what failed is done again.`,
    ),
  no_signal: (
    step: number,
    found: { steps: number; value: string; times: number; rewards: number; small: number },
    run_dir: string,
  ) =>
    say(
      "NO_SIGNAL",
      `Cannot train on step ${step}: in ${
        counted(found.steps, "consecutive step")
      }, no group had enough rewards that differ (in this one, ${found.times} of ${found.rewards} are ${found.value}${
        found.small > 0 ? `, and ${counted(found.small, "group")} had fewer valid ones than train.min_group_size` : ""
      }), so there is nothing to learn from`,
      `Give partial credit (\`partial\` of judge/state, parts of scores in the reward shaper), warm-start longer, or train on easier scenarios (train.difficulty). Then start anew, or change ${
        shellPath(join(run_dir, "pipeline.yaml"))
      }, where train.give_up_after: 0 means never to stop for this, and \`hone resume\`.`,
    ),
  no_scenario_kept: (total: number, left_out: string[], run_dir: string) =>
    say(
      "NO_SCENARIO_KEPT",
      `Cannot train: train.difficulty keeps none of ${counted(total, "training scenario")} (left out: ${
        left_out.join(", ")
      })`,
      `Add scenarios that the policy solves sometimes, warm-start longer, or widen train.difficulty.keep in ${
        shellPath(join(run_dir, "pipeline.yaml"))
      }, then \`hone resume\`.`,
    ),
  tokens_not_given: (url: string) =>
    say(
      "TOKENS_NOT_GIVEN",
      `Cannot train: the endpoint ${url} does not return the tokens that it sampled`,
      TOKENS_WANTED,
    ),
  tokens_missing: (rollout: string) =>
    say(
      "TOKENS_MISSING",
      `Cannot train on rollout ${quote(rollout)}: the endpoint returned no token ids or logprobs`,
      TOKENS_WANTED,
    ),
  disk_limit: (run_dir: string, bytes: number, limit_gb: number, largest: [string, number][]) =>
    say(
      "DISK_LIMIT",
      `Cannot continue: the run's folder ${quote(run_dir)} holds ${sizeOf(bytes)}, more than limits.disk_gb allows (${
        sizeOf(limit_gb * 1e9)
      }); its largest entries: ${largest.map(([name, size]) => `${quote(name)} ${sizeOf(size)}`).join(", ")}`,
      "Remove what is not needed there, or raise limits.disk_gb in the run's pipeline.yaml; then `hone resume`.",
    ),
  trainer_lost: (reason: string) =>
    say(
      "TRAINER_LOST",
      `Cannot continue: the trainer exited (${reason})`,
      "No acknowledged record is lost: `hone resume` continues from the last step.",
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
      "Add a model and a trainer, or an endpoint to evaluate.",
    ),
};

const MOST_LINES = 40;

/** One per line; the first `MOST_LINES` of them. */
function listed(lines: string[]): string {
  const more = lines.length > MOST_LINES ? [`and ${lines.length - MOST_LINES} more changes`] : [];
  return [...lines.slice(0, MOST_LINES), ...more].map((line) => `\n  ${line}`).join("");
}

/** Problems of a run's database file. */
export const store = {
  busy: (path: string) =>
    say(
      "RUN_BUSY",
      `Cannot open ${quote(path)}: another process is writing to it`,
      "Wait for the run to end, or use `hone query`, `hone watch` or `hone cancel`.",
    ),
  exists: (path: string) =>
    say(
      "RUN_EXISTS",
      `Cannot create ${quote(path)}: it already holds the records of a run`,
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
      `Cannot read ${
        quote(path)
      }: it was written by a newer version of hone (schema ${found}, this version supports ${known})`,
      "Update hone, or start a new run.",
    ),
  write_failed: (path: string, reason: string) =>
    say(
      "STORE_WRITE_FAILED",
      `Cannot write the run's records to ${quote(path)}: ${reason}`,
      "Free disk space, then `hone resume`: all acknowledged records are kept.",
    ),
};

const SCHEMA = "`hone query --schema` lists all tables and columns.";

function renamed([table, earlier, present]: [string, string, string]): string {
  return `${earlier} of ${table} is now ${present}.`;
}

function times(reason: string): string[] {
  const numbers = /TIMESTAMP/.test(reason) && /No function matches|Cannot compare/.test(reason);
  return numbers ? ["Times are TIMESTAMPs in UTC: epoch_ms(started_at) gives milliseconds."] : [];
}

/** Access to a run from another process. */
export const control = {
  run_locked: (run_dir: string, pid: number) =>
    say(
      "RUN_LOCKED",
      `Cannot run in ${quote(run_dir)}: process ${pid} is using this run`,
      "Wait for it, stop it (`hone cancel`), or choose another folder (`--run-dir`).",
    ),
  rejudged_live: (run_dir: string) =>
    say(
      "RUN_LIVE",
      `Cannot judge the run in ${quote(run_dir)} again: a process is still using it`,
      "Wait for its end, or stop it (`hone pause`).",
    ),
  folder_in_use: (run_dir: string, names: string[]) =>
    say(
      "FOLDER_NOT_EMPTY",
      `Cannot start a run in ${quote(run_dir)}: the folder is not empty (it holds ${names.slice(0, 3).join(", ")}${
        names.length > 3 ? ", …" : ""
      })`,
      "Set --run-dir to a new or empty folder.",
    ),
  run_starting: (run_dir: string) =>
    say("RUN_STARTING", `Cannot reach the run in ${quote(run_dir)}: it is still starting`, "Try again in a moment."),
  run_silent: (run_dir: string, pid: number | null, cause: string) =>
    say(
      "RUN_SILENT",
      `Cannot reach the run in ${quote(run_dir)}: process ${pid ?? "?"} is using it, but ${cause}`,
      `Try again; if the process hangs, end it (\`kill ${pid ?? "…"}\`), then \`hone resume\` continues the run.`,
    ),
  run_not_live: (run_dir: string) =>
    say(
      "RUN_NOT_LIVE",
      `Cannot reach the run in ${quote(run_dir)}: no process is using it`,
      "`hone resume` continues it.",
    ),
  no_such_run: (word: string, runs_dir: string, known: string[]) =>
    say(
      "NO_SUCH_RUN",
      `Cannot find run ${quote(word)} in ${quote(runs_dir)}`,
      known.length
        ? `Runs: ${known.slice(0, 8).join(", ")}${known.length > 8 ? ", …" : ""}.`
        : "There are no runs yet: `hone run pipeline.yaml` starts one.",
    ),
  not_a_select: (sql: string) =>
    say(
      "NOT_A_QUERY",
      `Cannot run ${quote(sql)}: only read-only queries are allowed`,
      "Start with SELECT, FROM, WITH, DESCRIBE, SHOW or SUMMARIZE.",
    ),
  query_too_large: (sql: string, wanted: string) =>
    say(
      "QUERY_TOO_LARGE",
      `Cannot return the result of ${quote(sql)}: it has more than ${wanted}`,
      "Add LIMIT, choose columns, or aggregate; --max-result-rows and --max-result-mb raise the limits.",
    ),
  query_timeout: (sql: string, seconds: number) =>
    say(
      "QUERY_TIMEOUT",
      `Cannot run ${quote(sql)}: it took more than ${seconds} s and was stopped`,
      "Make it simpler, or raise --timeout-secs.",
    ),
  query_failed: (sql: string, reason: string, replaced: [table: string, earlier: string, present: string][]) =>
    say(
      "QUERY_FAILED",
      `Cannot run ${quote(sql)}: ${reason}`,
      [...new Set(replaced.map(renamed)), ...times(reason), SCHEMA].join(" "),
    ),
};
