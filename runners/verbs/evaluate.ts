/**
 * `hone evaluate`: evaluates one policy without training. For a run, a published checkpoint, compared scenario by
 * scenario with the run's own evaluations; for a pipeline file, the base model or an adapter.
 * @module
 */
import { existsSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { z } from "zod";
import { objectIn } from "../../pipeline/common/json.ts";
import { textOf } from "../../pipeline/common/read_text.ts";
import { type LoadedPipeline, loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { findRun, openRun } from "../../pipeline/store/live_run.ts";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { Catalog, Split } from "../../pipeline/events.ts";
import type { Measured as MeasuredPolicy } from "../../pipeline/run/context.ts";
import { runPipeline } from "../../pipeline/run/open_run.ts";
import { recordedCatalog } from "../../pipeline/store/recorded.ts";
import { checkpointDir } from "../../pipeline/store/run_folder.ts";
import { evaluatedRollouts } from "../../pipeline/verdict/evaluated_rollouts.ts";
import { compare } from "../../pipeline/verdict/summary.ts";
import type { Comparison, Verdict } from "../../pipeline/verdict/verdict_types.ts";
import { builtins } from "../../plugins/mod.ts";
import { approval } from "./consent.ts";
import { type Ended, ended, endedJson } from "./ended.ts";
import { newId, newRunDetached, overridesOf, performing } from "./new_run.ts";
import { conclude, withProgress } from "./perform.ts";
import { interval_fields, measured_fields, policy_fields } from "./results.ts";
import { defineVerb, terminalOnly, type VerbCall } from "./verb.ts";

const policies = z.enum(["base", "prompt", "warm_start", "tuned"]);

const args = z.strictObject({
  policy: policies.optional().describe(
    "Policy to evaluate. Default: a run's last policy; for a pipeline base, or tuned with --adapter.",
  ),
  adapter: z.string().optional().describe("Folder of an adapter to evaluate instead, such as a run's adapter/."),
  checkpoint: z.string().optional().describe(
    "Checkpoint to evaluate instead: its folder, or the id that a hosted trainer assigned.",
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

const measured = z.object({
  policy: policies,
  ...measured_fields,
  ...policy_fields,
  notes: z.array(z.string()).describe("Caveats about the figures."),
  run_dir: z.string().describe("Absolute folder of the evaluation's records."),
  differences: z.array(z.object({ against: z.string(), ...interval_fields }))
    .describe("Difference in success from each policy that the run evaluated, on the scenarios that both attempted."),
});
type Measured = z.output<typeof measured>;

export default defineVerb({
  name: "evaluate",
  summary: "Evaluate a policy on a split, without training.",
  description:
    "Runs every scenario of a split with one policy and prints its success rate with a 95 % interval. For a run, it uses " +
    "the run's pipeline and checkpoints, and also prints the difference from each policy that the run evaluated on the " +
    "same scenarios.",
  effect: "runs",
  positional: [{ name: "run or pipeline", description: "A pipeline's YAML file, or a run's folder, id or `latest`." }],
  args,
  result: z.union([measured, ended]),
  examples: [
    "hone evaluate latest --split validation",
    "hone evaluate latest --policy tuned --sampling sampled --tries 4",
    "hone evaluate my.yaml --adapter runs/files-20261121-104500-a1b2/adapter",
  ],
  detached: newRunDetached,
  async run(call): Promise<Measured | Ended> {
    const { args, positional, signal, caller } = call;
    const word = positional[0]!;
    const source = /\.ya?ml$/i.test(word) ? null : await findRun(word);
    const loaded = await load(word, source, call);
    const { policy, weights } = await subject(args, source, loaded.hosted);
    if (weights && !loaded.stages.some(({ plugin }) => plugin.kind === "trainer")) {
      throw new HoneError(cli.weights_without_trainer());
    }
    const beside = source ? dirname(source) : "runs";
    const run_dir = resolve(args.run_dir ?? join(beside, "evaluations", newId(`${loaded.config.name}-${policy}`)));
    if (existsSync(join(run_dir, "run.duckdb"))) throw new HoneError(cli.run_exists(run_dir));
    const trained_with = await catalogOf(source, args.adapter);
    const result = await withProgress(
      call,
      (hooks) =>
        runPipeline(loaded, {
          run_dir,
          signal,
          measure: { policy, weights },
          trained_with,
          ...hooks,
        }),
    );
    if (result.status !== "completed") return conclude(result, caller, { resumable: false });
    const { split, sampling, scenarios, tries, policies, notes } = result.verdict!;
    const differences = source ? await against(source, run_dir, result.verdict!, loaded) : [];
    return { policy, split, sampling, scenarios, tries, ...policies[policy]!, notes, run_dir, differences };
  },
  formats: { json: endedJson },
  text: (value) => "policy" in value ? inWords(value) : "",
  // The exit code must not report an evaluation in which nothing was measured as a success.
  exit: (value) => "exit" in value ? value.exit : value.success.n === 0 ? 1 : 0,
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

/** The policy and its weights. */
async function subject(args_: z.output<typeof args>, source: string | null, hosted: boolean) {
  const { adapter, checkpoint } = args_;
  if (adapter && checkpoint) throw new HoneError(cli.weights_twice());
  if (hosted && adapter) throw new HoneError(cli.adapter_of_hosted());
  const named = adapter ?? checkpoint;
  if (named) {
    const weights = hosted ? named : resolve(named);
    if (!hosted && !statSync(weights, { throwIfNoEntry: false })?.isDirectory()) {
      throw new HoneError(cli.no_weights(named));
    }
    const policy: MeasuredPolicy["policy"] = args_.policy ?? "tuned";
    if (policy === "base" || policy === "prompt") {
      throw new HoneError(cli.bad_value("--policy", policy, "an adapter is evaluated as warm_start or tuned"));
    }
    return { policy, weights };
  }
  const published = source ? await publishedBy(source, hosted) : new Map<string, string>();
  const last = (["tuned", "warm_start"] as const).find((name) => published.has(name));
  const policy: MeasuredPolicy["policy"] = args_.policy ?? last ?? "base";
  if (policy === "base" || policy === "prompt") return { policy, weights: undefined };
  const weights = published.get(policy);
  if (weights) return { policy, weights };
  throw new HoneError(
    source ? cli.no_such_policy(source, policy, [...published.keys()]) : cli.weights_missing(policy),
  );
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

/** The run's published checkpoints by policy: ids if the trainer is hosted, otherwise folders that still exist. */
async function publishedBy(run_dir: string, hosted: boolean): Promise<Map<string, string>> {
  await using run = await openRun(run_dir);
  const rows = await run.query("SELECT policy, checkpoint FROM policies ORDER BY seq");
  const found = rows.map(({ policy, checkpoint }) => [String(policy), String(checkpoint)] as const);
  if (hosted) return new Map(found);
  const folders = found.map(([name, checkpoint]) => [name, checkpointDir(run_dir, checkpoint)] as const);
  return new Map(folders.filter(([, folder]) => existsSync(folder)));
}

/** The evaluated policy minus each policy of the run, on the scenarios that both attempted. */
async function against(source: string, run_dir: string, verdict: Verdict, loaded: LoadedPipeline) {
  const { split, sampling } = verdict;
  const now = (await rollouts(run_dir, split)).map((rollout) => ({ ...rollout, policy: MEASURED }));
  const then = await rollouts(source, split);
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
  const { policy, split, sampling, notes, run_dir, differences } = measured;
  const { mean, low, high, n } = measured.success;
  const other = sampling === "greedy" ? "sampled" : "greedy";
  const second = measured[`${other}_success`];
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
    ...notes.map((note) => `- ${note}`),
    join(run_dir, "report.html"),
  ].join("\n");
}

function share(value: number): string {
  return value.toFixed(2);
}
