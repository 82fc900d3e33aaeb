/**
 * `hone evaluate`: evaluates policies without training. For a run, its published checkpoints, compared scenario by
 * scenario with the run's own evaluations; for a pipeline file, its policies that need no training, or an adapter.
 * @module
 */
import { existsSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { z } from "zod";
import { objectIn } from "../../pipeline/common/json.ts";
import { textOf } from "../../pipeline/common/read_text.ts";
import { type LoadedPipeline, loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { findRun, openRun } from "../../pipeline/store/live_run.ts";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { Catalog, Split } from "../../pipeline/events.ts";
import { runPipeline } from "../../pipeline/run/open_run.ts";
import { recordedCatalog } from "../../pipeline/store/recorded.ts";
import { evaluatedRollouts } from "../../pipeline/verdict/evaluated_rollouts.ts";
import { compare, summarise } from "../../pipeline/verdict/summary.ts";
import type { Comparison, EvaluatedRollout, Sampling } from "../../pipeline/verdict/verdict_types.ts";
import { builtins } from "../../plugins/mod.ts";
import { approval } from "./consent.ts";
import { type Ended, ended, endedJson } from "./ended.ts";
import { newId, newRunDetached, overridesOf, performing } from "./new_run.ts";
import { conclude, withProgress } from "./perform.ts";
import { interval_fields, measured_fields, policy_fields } from "./results.ts";
import { type Evaluated, evaluatedRun, namedPolicies } from "./named_policies.ts";
import { defineVerb, terminalOnly, type VerbCall } from "./verb.ts";

/** A flag that may be repeated; other callers may give one word instead of a list. */
const words = z.union([z.array(z.string().min(1)), z.string().min(1).transform((word) => [word])]);

const args = z.strictObject({
  policy: words.optional().describe(
    "Policy to evaluate: base, prompt, warm_start, tuned, nothing, reference, a model of evaluate.models, or a step that " +
      "a run published; repeatable. Default: a run's last policy; for a pipeline base, or tuned with --adapter.",
  ),
  adapter: z.string().optional().describe("Folder of an adapter to evaluate instead, such as a run's adapter/."),
  checkpoint: words.optional().describe(
    "Checkpoint to evaluate instead: its folder, or the id that a hosted trainer assigned; repeatable. One is evaluated as " +
      "--policy (tuned), several under the names of their folders.",
  ),
  split: z.enum(["heldout", "validation"]).optional().describe(
    "Scenarios to evaluate on. Default: the pipeline's setting.",
  ),
  sampling: z.enum(["greedy", "sampled"]).optional().describe(
    "Decoding of the policy. Default: the pipeline's setting.",
  ),
  tries: z.int().min(1).optional().describe("Attempts per scenario. Default: the pipeline's setting."),
  set: z.array(z.string()).default([]).describe(
    "Override a value of the pipeline, for example seed=8; repeatable.",
  ),
  run_dir: terminalOnly(
    z.string().optional().describe("Folder for the evaluation's records. Default: evaluations/<id> next to the run."),
  ),
  ...performing,
});

const differences = z.array(z.object({ against: z.string(), ...interval_fields }))
  .describe("Difference in success from each policy that the run evaluated, on the scenarios that both attempted.");

const measured = z.object({
  policy: z.string().describe("The first policy."),
  ...measured_fields,
  ...policy_fields,
  sentence: z.string().describe("The comparison of the policies in words, or the success of the only one."),
  notes: z.array(z.string()).describe("Caveats about the figures."),
  run_dir: z.string().describe("Absolute folder of the evaluation's records."),
  differences,
  others: z.array(z.object({ policy: z.string(), ...policy_fields, differences })).describe("The further policies."),
});
type Measured = z.output<typeof measured>;

export default defineVerb({
  name: "evaluate",
  summary: "Evaluate policies on a split, without training.",
  description:
    "Runs every scenario of a split with one or more policies and prints their success rates with 95 % intervals. For a " +
    "run, or an earlier evaluation, it uses that run's pipeline and checkpoints, and also prints the difference from each " +
    "policy that the run evaluated on the same scenarios. For a model and a file of scenarios without a pipeline file, see " +
    "`hone eval`.",
  effect: "runs",
  positional: [{ name: "run or pipeline", description: "A pipeline's YAML file, or a run's folder, id or `latest`." }],
  args,
  result: z.union([measured, ended]),
  examples: [
    "hone evaluate latest --split validation",
    "hone evaluate latest --policy tuned --sampling sampled --tries 4",
    "hone evaluate latest --policy base --policy prompt --policy tuned",
    "hone evaluate my.yaml --adapter runs/files-20261121-104500-a1b2/adapter",
  ],
  detached: newRunDetached,
  async run(call): Promise<Measured | Ended> {
    const { args, positional, signal, caller } = call;
    const word = positional[0]!;
    const source = /\.ya?ml$/i.test(word) ? null : await findRun(word);
    const evaluated = await evaluatedRun(source);
    const loaded = await load(word, source, call);
    const measure = await namedPolicies(args, evaluated, loaded);
    const names = measure.map(({ policy }) => policy);
    const run_dir = resolve(args.run_dir ?? join(folderBeside(evaluated), newId(idOf(loaded.config.name, names))));
    if (existsSync(join(run_dir, "run.duckdb"))) throw new HoneError(cli.run_exists(run_dir));
    const trained_with = await catalogOf(source, args.adapter);
    const result = await withProgress(
      call,
      (hooks) =>
        runPipeline(loaded, {
          run_dir,
          signal,
          measure,
          trained_with,
          ...hooks,
        }),
    );
    if (result.status !== "completed") return conclude(result, caller, { resumable: false });
    const { split, sampling, scenarios, tries, policies, sentence, notes } = result.verdict!;
    const then = source ? await rollouts(source, split) : [];
    const now = await rollouts(run_dir, split);
    const [first, ...others] = names.flatMap((policy) => {
      const mine = now.filter((one) => one.policy === policy);
      // The verdict has no summary of a floor or a ceiling.
      const summary = policies[policy] ?? summarise(mine, sampling, loaded.config.seed);
      return mine.length > 0 ? [{ policy, ...summary, differences: against(mine, then, sampling, loaded) }] : [];
    });
    if (!first) throw new HoneError(cli.nothing_attempted(names, split));
    return { ...first, split, sampling, scenarios, tries, sentence, notes, run_dir, others };
  },
  formats: { json: endedJson },
  text: (value) => "policy" in value ? inWords(value) : "",
  // The exit code must not report an evaluation in which nothing was measured as a success.
  exit: (value) =>
    "exit" in value ? value.exit : [value, ...value.others].some(({ success }) => success.n === 0) ? 1 : 0,
});

/** The pipeline with the overrides of the flags. */
async function load(word: string, source: string | null, call: VerbCall<z.output<typeof args>>) {
  const { args: given, signal } = call;
  const overrides = overridesOf([
    ...given.set,
    ...(["split", "tries"] as const).flatMap((key) => given[key] ? [`evaluate.${key}=${given[key]}`] : []),
    ...(given.sampling ? [`evaluate.sampling=[${given.sampling}]`] : []),
  ]);
  const path = source ? join(source, "pipeline.yaml") : word;
  const approve = approval(call, relative(Deno.cwd(), path));
  return await loadPipeline(path, { builtins, signal, overrides, trains: false, approve });
}

/** The catalog that the policy was trained with, from its run or its adapter. */
async function catalogOf(source: string | null, adapter: string | undefined): Promise<Catalog | undefined> {
  if (adapter !== undefined) return await adapterCatalog(join(resolve(adapter), "hone.json"));
  if (source === null) return undefined;
  await using run = await openRun(source);
  return await recordedCatalog(run) ?? undefined;
}

/** Undefined for an adapter that hone did not write: it does not list tools. */
async function adapterCatalog(path: string): Promise<Catalog | undefined> {
  if (!existsSync(path)) return undefined;
  const { tools, catalog_schema_hash } = objectIn(await textOf(path)) ?? {};
  if (!Array.isArray(tools) || typeof catalog_schema_hash !== "string") return undefined;
  return { servers: [], tools: tools as unknown as Catalog["tools"], schema_hash: catalog_schema_hash };
}

/** The folder of an evaluation's records: beside those of the run, or of the earlier evaluation. */
function folderBeside(source: Evaluated | null): string {
  if (source === null) return join("runs", "evaluations");
  return source.measured ? dirname(source.run_dir) : join(dirname(source.run_dir), "evaluations");
}

function idOf(name: string, policies: string[]): string {
  return `${name}-${policies.length > 2 ? "policies" : policies.join("-")}`;
}

/** The evaluated policy minus each policy of the run, on the scenarios that both attempted. */
function against(mine: EvaluatedRollout[], then: EvaluatedRollout[], sampling: Sampling, loaded: LoadedPipeline) {
  const now = mine.map((rollout) => ({ ...rollout, policy: MEASURED }));
  const names = [...new Set(then.map(({ policy }) => policy))];
  return names
    .map((name) => successOf(compare(MEASURED, name, [...now, ...then], sampling, loaded.config.seed)))
    .filter(({ n }) => n > 0)
    .map(({ against, mean, low, high, n }) => ({ against, mean, low, high, n }));
}

/** A name that no policy of a run uses. */
const MEASURED = "(measured)";

function successOf(comparisons: Comparison[]): Comparison {
  return comparisons.find(({ metric }) => metric === "success")!;
}

async function rollouts(run_dir: string, split: Split) {
  await using run = await openRun(run_dir);
  return await evaluatedRollouts(run, split);
}

function inWords(measured: Measured): string {
  const { others, sentence, notes, run_dir } = measured;
  return [
    ...[measured, ...others].flatMap((one) => policyInWords(one, measured)),
    ...(others.length > 0 ? [sentence] : []),
    ...notes.map((note) => `- ${note}`),
    join(run_dir, "report.html"),
  ].join("\n");
}

function policyInWords(of: Measured["others"][number], { split, sampling }: Measured): string[] {
  const { policy, differences } = of;
  const { mean, low, high, n } = of.success;
  const other = sampling === "greedy" ? "sampled" : "greedy";
  const second = of[`${other}_success`];
  const success = n === 0
    ? "no valid judgement"
    : `${share(mean)} (95 % interval ${share(low)} to ${share(high)}, n ${n})`;
  return [
    `${policy} on ${split}, ${sampling}: ${success}`,
    ...(second
      ? [`${policy} on ${split}, ${other}: ${share(second.mean)} (${share(second.low)} to ${share(second.high)})`]
      : []),
    ...differences.map(({ against, mean, low, high, n }) =>
      `minus the run's ${against}: ${mean > 0 ? "+" : ""}${share(mean)} (${share(low)} to ${share(high)}, ${n} pairs)`
    ),
  ];
}

function share(value: number): string {
  return value.toFixed(2);
}
