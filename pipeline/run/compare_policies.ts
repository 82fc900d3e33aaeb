/**
 * Compares two policies of a run that has ended by a relative judge, in pairs: rollouts of the same scenario, at the same
 * temperature and of the same try. The run is only read; replies of language models are cached.
 * @module
 */
import { basename, join } from "node:path";
import { Semaphore } from "../common/semaphore.ts";
import { judgedAlone } from "../config/measured_alone.ts";
import type { LoadedPipeline } from "../config/pipeline_file.ts";
import { comparisons as messages, control, HoneError } from "../diagnostics/mod.ts";
import type { Judgement, Scenario, Split, Trajectory } from "../events.ts";
import type { Log } from "../plugin.ts";
import { type Preferences, preferences, type Preferred } from "../stats/preference.ts";
import { lockHolder } from "../store/live_run.ts";
import { allScenarios, trajectories } from "../store/recorded.ts";
import { DATABASE } from "../store/run_folder.ts";
import { Store } from "../store/store.ts";
import { isJudgeable } from "./bindings/bind_judge.ts";
import { Progress, type ProgressSnapshot } from "./progress/progress.ts";
import { JUDGED_AT_ONCE, recordedJudges } from "./recorded_judges.ts";
import { createRoles } from "./roles.ts";

/** Options of a comparison. */
export interface CompareOptions {
  run_dir: string;
  policy: string;
  against: string;
  split: Split;
  /** Stage id. Default: the pipeline's only relative judge. */
  judge?: string;
  /** Maximum number of pairs. */
  pairs: number;
  signal: AbortSignal;
  log: Log;
  on_progress?: (read: () => ProgressSnapshot) => void;
}

/** What a comparison found; wins are those of `policy`. */
export interface Compared extends Preferences {
  policy: string;
  against: string;
  judge: string;
  scenarios: number;
  /** Pairs that the judge could not compare. They are not ties, and not part of the share. */
  invalid: number;
  /** Why the first of these. */
  cause: string | null;
  /** Pairs whose order changed the judge's mind, which are ties; null if the judge does not say. */
  flipped: number | null;
  requests: number;
  cached: number;
  usd: number | null;
}

interface PolicyPair {
  scenario: Scenario;
  group: [Trajectory, Trajectory];
}

/** Compares; throws a HoneError if that cannot be started, and the signal's reason if it is stopped. */
export async function comparePolicies(loaded: LoadedPipeline, options: CompareOptions): Promise<Compared> {
  const { run_dir, policy, against, signal, log } = options;
  if ((await lockHolder(run_dir)) !== null) throw new HoneError(control.rejudged_live(run_dir));
  const judge_id = relativeJudge(loaded, options.judge);
  await using stack = new AsyncDisposableStack();
  const store = stack.use(await Store.open(join(run_dir, DATABASE), { run_id: basename(run_dir), mode: "read" }));
  const pairs = await paired(store, options);
  const roles = await createRoles(judgedAlone(loaded), { log, signal, stack });
  const judge = roles.judges.find(({ id }) => id === judge_id)!;
  const { llm_calls, llm_tokens, usd } = loaded.config.limits;
  const judges = await recordedJudges(store, { limits: { calls: llm_calls, tokens: llm_tokens, usd }, log, signal });
  const progress = new Progress(options.on_progress);
  progress.begin(`compare ${policy} with ${against}`, pairs.length);
  const slots = new Semaphore(JUDGED_AT_ONCE);
  const said = await Promise.all(pairs.map(({ scenario, group }) =>
    slots.use(async () => {
      const made = await judges.ask(judge, { scenario, group });
      progress.advance();
      return { scenario_id: scenario.id, ...preferred(made) };
    }, signal)
  ));
  progress.end();
  const { tokens: _, ...cost } = judges.cost();
  return { policy, against, judge: judge_id, ...figures(said), ...cost };
}

function relativeJudge({ stages }: LoadedPipeline, wanted: string | undefined): string {
  const relative = stages.filter(({ plugin, scale }) => plugin.kind === "judge" && scale === "relative");
  const chosen = relative.filter(({ id }) => wanted === undefined || id === wanted);
  if (chosen.length === 1) return chosen[0]!.id;
  throw new HoneError(messages.which_judge(wanted, relative.map(({ id }) => id)));
}

/** Rollouts of both policies that can be judged, in pairs, the first tries of all scenarios first. */
async function paired(store: Store, { run_dir, policy, against, split, pairs }: CompareOptions): Promise<PolicyPair[]> {
  const rows = await store.query(
    `WITH tried AS (
       SELECT * FROM rollouts WHERE purpose = 'evaluation' AND split = $3 AND abandoned IS NULL
       QUALIFY attempt = max(attempt) OVER (PARTITION BY group_id)
     )
     SELECT a.rollout_id AS mine, b.rollout_id AS other FROM tried a JOIN tried b USING (scenario_id, temperature, try)
     WHERE a.policy = $1 AND b.policy = $2 ORDER BY try, a.seq, b.seq`,
    [policy, against, split],
  );
  const known = await trajectories(store, rows.flatMap(({ mine, other }) => [String(mine), String(other)]));
  const by_id = new Map(known.filter(isJudgeable).map((trajectory) => [trajectory.rollout_id, trajectory]));
  const scenarios = new Map((await allScenarios(store)).map((scenario) => [scenario.id, scenario]));
  const found = rows.flatMap((row): PolicyPair[] => {
    const [mine, other] = [by_id.get(String(row.mine)), by_id.get(String(row.other))];
    const scenario = mine && scenarios.get(mine.scenario_id);
    return mine && other && scenario ? [{ scenario, group: [mine, other] }] : [];
  });
  if (found.length > 0) return found.slice(0, pairs);
  const evaluated = await store.query(
    "SELECT DISTINCT policy FROM rollouts WHERE purpose = 'evaluation' AND split = $1 ORDER BY policy",
    [split],
  );
  throw new HoneError(messages.no_pairs(run_dir, [policy, against], split, evaluated.map((row) => String(row.policy))));
}

interface Said {
  scenario_id: string;
  preferred: Preferred | null;
  cause: string | null;
  flipped: boolean | null;
}

function preferred([mine, other]: Judgement[]): Omit<Said, "scenario_id"> {
  if (!mine || !other || !("score" in mine) || !("score" in other)) {
    const [cause = null] = [mine, other].flatMap((one) =>
      one && "invalid" in one ? [one.invalid] : one && "abstain" in one ? [one.abstain] : []
    );
    return { preferred: null, cause, flipped: null };
  }
  const difference = mine.score - other.score;
  const flipped = mine.parts?.flipped;
  return {
    preferred: difference > 0 ? "win" : difference < 0 ? "loss" : "tie",
    cause: null,
    flipped: flipped === undefined ? null : flipped > 0,
  };
}

function figures(said: Said[]): Omit<Compared, "policy" | "against" | "judge" | "requests" | "cached" | "usd"> {
  const clusters = [...Map.groupBy(said, ({ scenario_id }) => scenario_id).values()];
  const failed = said.filter((one) => one.preferred === null);
  const told = said.flatMap(({ flipped }) => flipped === null ? [] : [flipped]);
  return {
    ...preferences(clusters.map((some) => some.flatMap((one) => one.preferred ?? []))),
    scenarios: clusters.length,
    invalid: failed.length,
    cause: failed[0]?.cause ?? null,
    flipped: told.length === 0 ? null : told.filter(Boolean).length,
  };
}
