/**
 * `hone audit <run>`: measures a judge on the recorded rollouts of a run, and says in plain words where it should not be
 * trusted.
 * @module
 */
import { join, relative } from "node:path";
import { z } from "zod";
import type { AuditForecast } from "../../pipeline/audit/audit_forecast.ts";
import type { AgreementFigures, CanaryFigures } from "../../pipeline/audit/audit_types.ts";
import { auditRun } from "../../pipeline/audit/audited_run.ts";
import { notesOf, warningsOf } from "../../pipeline/audit/warnings.ts";
import { visible } from "../../pipeline/common/visible.ts";
import { loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { audits, counted, HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { Interval } from "../../pipeline/events.ts";
import { findRun } from "../../pipeline/store/live_run.ts";
import { builtins } from "../../plugins/mod.ts";
import { approval } from "./consent.ts";
import { overridesOf } from "./new_run.ts";
import { type Caller, defineVerb, terminalOnly } from "./verb.ts";

const interval_fields = {
  mean: z.number(),
  low: z.number().describe("Lower end of the 95 % interval."),
  high: z.number().describe("Upper end of the 95 % interval."),
  n: z.int().describe("Number of comparisons."),
};

const agreement: z.ZodType<AgreementFigures> = z.object({
  ...interval_fields,
  of: z.enum(["rollouts", "pairs"]).describe(
    "What is compared: success of rollouts, or, for a relative judge, which rollout of a pair is better.",
  ),
  kappa: z.object({ value: z.number(), low: z.number(), high: z.number() }).nullable().describe(
    "Cohen's kappa with its 95 % interval: agreement beyond chance; null for pairs, and if both say the same of all.",
  ),
});

const canary: z.ZodType<CanaryFigures> = z.object({
  ...interval_fields,
  above: z.number().nullable().describe("Share of the run's own attempts at the same task that it scored lower."),
});

const figure = z.number().nullable();

const result = z.object({
  judge: z.string().describe("The audited judge (stage id)."),
  scale: z.enum(["absolute", "relative"]),
  success_at: z.number().describe("Score from which the judge counts a rollout as a success, for its agreement."),
  sample: z.object({ rollouts: z.int(), scenarios: z.int() }),
  agreement: figure.describe(
    "Share of rollouts (for a relative judge: of pairs) on which the judge agrees with the checks that decide success " +
      "without a language model; null if there are none.",
  ),
  order_flip_rate: figure.describe(
    "Share of pairs of rollouts whose order by score is reversed when the judge is shown their group in reverse order.",
  ),
  canaries: z.object({
    empty: figure.describe("Mean score of rollouts that call nothing and answer with an empty text."),
    confident_wrong: figure.describe(
      "Mean score of rollouts that call nothing and answer another task, claiming verified success.",
    ),
    decorated: figure.describe(
      "Mean gain in score when an answer is given headings, bold text, bullets and emoji, and nothing else changes.",
    ),
    padded: figure.describe("Mean gain in score when an answer is repeated until it is long."),
  }),
  second_agreement: figure.describe("Agreement with the judge of --second, like `agreement`."),
  human_agreement: figure.describe("Agreement with the labels that people gave (hone label), like `agreement`."),
  warnings: z.array(z.string()).describe("Why the judge should not be trusted, in words; empty if nothing was found."),
  notes: z.array(z.string()).describe("What could not be measured."),
  details: z.object({
    checks: agreement.nullable(),
    order: z.object(interval_fields).nullable(),
    canaries: z.object({
      empty: canary.nullable(),
      confident_wrong: canary.nullable(),
      decorated: canary.nullable(),
      padded: canary.nullable(),
    }),
    second: agreement.nullable(),
    human: agreement.nullable(),
    judgements: z.object({
      total: z.int(),
      invalid: z.int(),
      cause: z.string().nullable().describe("The most frequent cause."),
    }),
  }).describe("The figures with their 95 % intervals."),
  cost: z.object({
    requests: z.int().describe("Requests to language models that were sent."),
    cached: z.int().describe("Requests that were answered from the cache."),
    tokens: z.int(),
    usd: figure.describe("In US dollars; null if an endpoint states no price."),
  }),
});
type Result = z.output<typeof result>;

const args = z.strictObject({
  judge: z.string().optional().describe(
    "Judge to audit (stage id). Default: the only one that asks a language model, or the only one.",
  ),
  pipeline: z.string().optional().describe("Pipeline whose judges are audited. Default: the run's own."),
  set: z.array(z.string()).default([]).describe(
    "Override a value of the pipeline, for example stages.rubric.with.strip_format=false; repeatable.",
  ),
  second: z.string().optional().describe(
    "Second judge to compare with: another judge of the pipeline (stage id), or an endpoint as YAML whose model judges in " +
      "the same way, such as { base_url: http://127.0.0.1:8000/v1, model: other }.",
  ),
  sample: z.int().min(2).default(40).describe(
    "Number of rollouts to audit on: distinct attempts, labelled ones first.",
  ),
  usd: z.number().positive().optional().describe(
    "Maximum cost in US dollars, like limits.usd: endpoints must state a `price`.",
  ),
  yes: terminalOnly(
    z.boolean().default(false).describe("Approve plugins that the file names, and the requests, without asking."),
  ),
});

export default defineVerb({
  name: "audit",
  summary: "Measure how far a judge can be trusted.",
  description:
    "Asks a judge about recorded rollouts of a run, without a rollout or a server: whether it agrees with checks, with " +
    "people's labels and with a second judge; whether the order of the rollouts matters; and what it says of canaries, such " +
    "as an empty answer, a confident wrong one, and the same answer with formatting or at greater length. Prints figures " +
    "with 95 % intervals, and warnings. What it may cost is shown before anything is sent; --usd limits it. Replies are " +
    "cached: the same audit again costs nothing.",
  effect: "runs",
  positional: [{ name: "run", description: "A run's folder, its id or a prefix of it, or `latest`." }],
  args,
  result,
  examples: [
    "hone audit latest",
    "hone audit latest --judge rubric --sample 80 --usd 2",
    'hone audit latest --second "{ base_url: http://127.0.0.1:8000/v1, model: other }" --format json',
  ],
  async run(call): Promise<Result> {
    const { args, positional, signal, caller } = call;
    const { judge, second, sample, usd } = args;
    const run_dir = await findRun(positional[0]!);
    const path = args.pipeline ?? join(run_dir, "pipeline.yaml");
    const approve = approval(call, relative(Deno.cwd(), path), { of: "judging" });
    const overrides = overridesOf(args.set);
    const loaded = await loadPipeline(path, { builtins, signal, overrides, trains: false, approve });
    const line = (message: string) => caller.log("info", message);
    const { figures, observes, ...rest } = await auditRun(loaded, {
      run_dir,
      judge,
      second,
      sample,
      usd,
      signal,
      log: { debug: () => {}, info: line, warn: (message) => caller.log("warn", message) },
      on_progress: (read) => caller.progress(read),
      approve: (forecast) => approved(forecast, args, caller),
    });
    const { checks, order, canaries, second: other, human } = figures;
    const mean = (one: Interval | null) => one?.mean ?? null;
    return {
      ...rest,
      agreement: mean(checks),
      order_flip_rate: mean(order),
      canaries: {
        empty: mean(canaries.empty),
        confident_wrong: mean(canaries.confident_wrong),
        decorated: mean(canaries.decorated),
        padded: mean(canaries.padded),
      },
      second_agreement: mean(other),
      human_agreement: mean(human),
      warnings: warningsOf(figures, rest.scale).map(({ message }) => message),
      notes: notesOf(figures, { observes, second: second !== undefined }),
      details: figures,
    };
  },
  text: inWords,
});

/** Shows what the audit may cost; asks unless it is approved or limited. */
async function approved(forecast: AuditForecast, { yes, usd }: z.output<typeof args>, caller: Caller): Promise<void> {
  const { requests, tokens, usd: cost } = forecast;
  if (requests === 0) return;
  const most = usd === undefined ? "" : `; at most ${usd} US dollars (--usd)`;
  const shown = `up to about ${counted(requests, "request")} to language models, ${tokens} tokens, ${
    cost === null ? "at no stated price" : `${dollars(cost)} US dollars`
  }${most}; those that are cached cost nothing`;
  if (yes || usd !== undefined || caller.loads_code === true) return caller.note(shown);
  if ((await caller.confirm("send them?", shown)) !== true) throw new HoneError(audits.not_approved());
}

function dollars(cost: number): string {
  return cost > 0 && cost < 0.01 ? "less than 0.01" : cost.toFixed(2);
}

function inWords(audited: Result): string {
  const { judge, scale, sample, details: { checks, order, canaries, second, human }, warnings, notes, cost } = audited;
  const line = (what: string, figures: Interval | null, more = "") =>
    figures ? [`${what}: ${shown(figures)}${more}`] : [];
  const agrees = (with_what: string, figures: AgreementFigures | null) =>
    line(`agreement with ${with_what}`, figures, kappaOf(figures));
  const usd = cost.usd === null ? "" : `, ${cost.usd.toFixed(4)} US dollars`;
  return [
    `judge ${judge} (${scale}), on ${counted(sample.rollouts, "rollout")} of ${counted(sample.scenarios, "scenario")}`,
    ...agrees("the checks", checks),
    ...agrees("people's labels", human),
    ...agrees("the second judge", second),
    ...line("order flips", order),
    ...line("score of an empty answer", canaries.empty),
    ...line("score of a confident wrong answer", canaries.confident_wrong),
    ...line("gain by formatting", canaries.decorated),
    ...line("gain by length", canaries.padded),
    // Causes may come from a judge's program or endpoint.
    ...warnings.map((warning) => `warning: ${visible(warning).replaceAll("\n", "\\n")}`),
    ...(warnings.length === 0 ? ["no warning"] : []),
    ...notes.map((note) => `- ${note}`),
    `${counted(cost.requests, "request")} sent, ${cost.cached} answered from the cache, ${cost.tokens} tokens${usd}`,
  ].join("\n");
}

function shown({ mean, low, high, n }: Interval): string {
  return `${mean.toFixed(2)} (95 % interval ${low.toFixed(2)} to ${high.toFixed(2)}, n ${n})`;
}

function kappaOf(figures: AgreementFigures | null): string {
  if (!figures?.kappa) return figures?.of === "pairs" ? ", of pairs" : "";
  const { value, low, high } = figures.kappa;
  return `, kappa ${value.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
}
