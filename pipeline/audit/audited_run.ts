/**
 * Audits a judge of a pipeline on a run that has ended: opens the run's records for reading and the judges' roles, says
 * what it may cost, and measures. Nothing is written but hone's cache of replies, with which a second audit costs
 * nothing.
 * @module
 */
import { basename, join } from "node:path";
import { Semaphore } from "../common/semaphore.ts";
import { endpointsIn } from "../config/endpoint_prices.ts";
import type { LoadedPipeline, LoadedStage } from "../config/pipeline_file.ts";
import { judgedAlone } from "../config/measured_alone.ts";
import { audits, HoneError, llm as llm_messages } from "../diagnostics/mod.ts";
import type { Trajectory } from "../events.ts";
import type { Log } from "../plugin.ts";
import type { RunRoles, StagedJudge } from "../run/context.ts";
import { Progress, type ProgressSnapshot } from "../run/progress/progress.ts";
import { type AskingCost, JUDGED_AT_ONCE, type RecordedJudges, recordedJudges } from "../run/recorded_judges.ts";
import { createRoles } from "../run/roles.ts";
import { lockHolder } from "../store/live_run.ts";
import { storedJudgements, storedLabels } from "../store/recorded.ts";
import { DATABASE } from "../store/run_folder.ts";
import { Store } from "../store/store.ts";
import { asks, audit, type AuditedJudge, type Rater } from "./audit_figures.ts";
import { type AuditForecast, forecastOf } from "./audit_forecast.ts";
import type { AuditFigures } from "./audit_types.ts";
import { sampled } from "./sample.ts";
import { secondOf } from "./second_judge.ts";

/** Options of an audit. */
export interface AuditOptions {
  run_dir: string;
  /** Stage id. Default: the only judge that asks a language model, or the only judge. */
  judge?: string;
  /** Stage id of another judge, or an endpoint as YAML, whose model judges as the audited judge does. */
  second?: string;
  /** Number of rollouts. */
  sample: number;
  /** Maximum cost in US dollars. */
  usd?: number;
  signal: AbortSignal;
  log: Log;
  on_progress?: (read: () => ProgressSnapshot) => void;
  /** Called before anything is asked; throws if it may not be. */
  approve(forecast: AuditForecast): Promise<void>;
}

/** What an audit found. */
export interface Audited {
  judge: string;
  scale: "absolute" | "relative";
  /** Score from which the judge counts a rollout as a success. */
  success_at: number;
  observes: boolean;
  sample: { rollouts: number; scenarios: number };
  figures: AuditFigures;
  cost: AskingCost;
}

/** Score that counts as success where nothing else says. */
const HALF = 0.5;

/** Audits the judge; throws a HoneError if that cannot be started, and the signal's reason if it is stopped. */
export async function auditRun(loaded: LoadedPipeline, options: AuditOptions): Promise<Audited> {
  const { run_dir, signal, log } = options;
  if ((await lockHolder(run_dir)) !== null) throw new HoneError(audits.live(run_dir));
  await using stack = new AsyncDisposableStack();
  const store = stack.use(await Store.open(join(run_dir, DATABASE), { run_id: basename(run_dir), mode: "read" }));
  const all = loaded.stages.filter(({ plugin }) => plugin.kind === "judge");
  const asking = await askingModels(store, all);
  const stage = chosen(options.judge, all, asking);
  const second = options.second === undefined ? undefined : secondOf(options.second, stage, all);
  mustHavePrices(options, [stage, ...(second ? [second] : [])]);
  const stages = [...judgedAlone(loaded).stages, ...(second && !all.includes(second) ? [second] : [])];
  const roles = await createRoles({ ...loaded, stages }, { log, signal, stack });
  const groups = await sampled(store, options.sample, loaded.config.seed);
  if (groups.length === 0) throw new HoneError(audits.no_rollouts(run_dir));
  const progress = new Progress(options.on_progress);
  const limits = options.usd === undefined ? {} : { usd: options.usd };
  const judges = await recordedJudges(store, { limits, log, signal });
  const opened = (id: string) => auditable(roles.judges.find((one) => one.id === id)!, loaded, judges, progress);
  const judge = opened(stage.id);
  const other = second && opened(second.id);
  const planned = asks({ groups, judge });
  const again = { groups: groups.length, rollouts: groups.reduce((sum, { group }) => sum + group.length, 0) };
  const forecasts = [
    await forecastOf(store, { stage, scale: judge.scale, asks: planned }, groups),
    ...(other ? [await forecastOf(store, { stage: second, scale: other.scale, asks: again }, groups)] : []),
  ];
  await options.approve(forecasts.reduce(both));
  progress.begin(`audit ${stage.id}`, planned.groups + (other ? again.groups : 0));
  const slots = new Semaphore(JUDGED_AT_ONCE);
  const rollouts = groups.flatMap(({ group }) => group);
  const deciding = roles.judges.filter((one) => isCheck(one, stages, asking) && one.id !== stage.id);
  const figures = await audit({
    groups,
    judge,
    ...(other && { second: other }),
    checks: await checksOf(store, deciding, rollouts, loaded),
    people: await peopleOf(store, rollouts),
    seed: loaded.config.seed,
    all: (items, work) => Promise.all(items.map((item) => slots.use(() => work(item), signal))),
  });
  progress.end();
  return {
    judge: stage.id,
    scale: judge.scale,
    success_at: judge.success_at,
    observes: judge.observes,
    sample: { rollouts: rollouts.length, scenarios: groups.length },
    figures,
    cost: judges.cost(),
  };
}

/** A judge of the run, as the audit asks it. */
function auditable(
  judge: StagedJudge,
  loaded: LoadedPipeline,
  judges: RecordedJudges,
  progress: Progress,
): AuditedJudge {
  return {
    scale: judge.role.scale,
    success_at: successAt(judge, loaded),
    observes: judge.role.observe !== undefined,
    async ask({ scenario, group }) {
      const said = await judges.ask(judge, { scenario, group });
      progress.advance();
      return said;
    },
  };
}

/** Judges that ask language models: their settings have an endpoint, or the run recorded requests of them. */
async function askingModels(store: Store, judges: LoadedStage[]): Promise<Set<string>> {
  const recorded = await store.query("SELECT DISTINCT stage FROM llm_calls");
  const named = judges.filter((judge) => endpointsIn(judge.with).length > 0).map(({ id }) => id);
  return new Set([...recorded.map(({ stage }) => String(stage)), ...named]);
}

function chosen(wanted: string | undefined, judges: LoadedStage[], asking: Set<string>): LoadedStage {
  const models = judges.filter(({ id }) => asking.has(id));
  const candidates = wanted !== undefined
    ? judges.filter(({ id }) => id === wanted)
    : models.length > 0
    ? models
    : judges;
  if (candidates.length === 1) return candidates[0]!;
  throw new HoneError(audits.which_judge(wanted, (wanted === undefined ? candidates : judges).map(({ id }) => id)));
}

function mustHavePrices({ usd }: AuditOptions, stages: LoadedStage[]): void {
  if (usd === undefined) return;
  const unpriced = stages.flatMap((stage) => endpointsIn(stage.with)).filter(({ endpoint }) => !endpoint.price);
  if (unpriced.length > 0) {
    throw new HoneError(unpriced.map(({ endpoint }) => llm_messages.unpriced(endpoint.model)));
  }
}

/** A judge that decides success by what is on record, without a language model or a person. */
function isCheck({ id, role }: StagedJudge, stages: LoadedStage[], asking: Set<string>): boolean {
  const by_people = stages.find((stage) => stage.id === id)?.plugin.name === "human";
  return role.decisive && !asking.has(id) && !by_people;
}

function successAt({ role }: StagedJudge, { config }: LoadedPipeline): number {
  return role.success_at ?? (role.decisive ? config.evaluate.success_at : HALF);
}

/** Success of the rollouts by the recorded judgements of the checks: 1 or 0; null if one could not judge, or none did. */
async function checksOf(
  store: Store,
  judges: RunRoles["judges"],
  rollouts: Trajectory[],
  loaded: LoadedPipeline,
): Promise<Rater> {
  const ids = rollouts.map(({ rollout_id }) => rollout_id);
  const said = await Promise.all(
    judges.map(async (judge) => ({ at: successAt(judge, loaded), of: await storedJudgements(store, judge.id, ids) })),
  );
  return {
    success_at: 1,
    value(id) {
      const made = said.flatMap(({ at, of }) => {
        const one = of.get(id);
        return one === undefined || "abstain" in one ? [] : [{ at, one }];
      });
      if (made.length === 0 || made.some(({ one }) => "invalid" in one)) return null;
      return Number(made.every(({ at, one }) => "score" in one && one.score >= at - 1e-9));
    },
  };
}

/** The mean of the labels that people gave. */
async function peopleOf(store: Store, rollouts: Trajectory[]): Promise<Rater> {
  const labels = await storedLabels(store, rollouts.map(({ rollout_id }) => rollout_id));
  const by_rollout = Map.groupBy(labels, ({ rollout_id }) => rollout_id);
  return {
    success_at: HALF,
    value(id) {
      const given = by_rollout.get(id);
      return given ? given.reduce((sum, { score }) => sum + score, 0) / given.length : null;
    },
  };
}

function both(a: AuditForecast, b: AuditForecast): AuditForecast {
  const usd = a.usd === null || b.usd === null ? null : a.usd + b.usd;
  return { requests: a.requests + b.requests, tokens: a.tokens + b.tokens, usd };
}
