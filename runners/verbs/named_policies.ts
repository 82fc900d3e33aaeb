/** The policies that the flags of `hone evaluate` name, with their weights and prompts. @module */
import { existsSync, statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { nearest } from "../../pipeline/diagnostics/diagnostic.ts";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { LoadedPipeline } from "../../pipeline/config/pipeline_file.ts";
import type { Measured } from "../../pipeline/run/context.ts";
import { recordedPurpose } from "../../pipeline/run/open_run.ts";
import { storedPrompt } from "../../pipeline/run/prompting/stored_prompt.ts";
import { openRun } from "../../pipeline/store/live_run.ts";
import { checkpointDir } from "../../pipeline/store/run_folder.ts";

/** What the flags name. */
export interface Named {
  policy?: string[];
  adapter?: string;
  checkpoint?: string[];
}

/** A run, or an earlier evaluation, whose policies are evaluated. */
export interface Evaluated {
  run_dir: string;
  /** What it evaluated, if it did nothing else. */
  measured?: Measured[];
}

/** Reads what a folder's run is; null for a pipeline file. */
export async function evaluatedRun(run_dir: string | null): Promise<Evaluated | null> {
  return run_dir === null ? null : { run_dir, measured: (await recordedPurpose(run_dir)).measure };
}

/** The policies to evaluate, in order. Throws if one does not exist. */
export async function namedPolicies(
  named: Named,
  source: Evaluated | null,
  loaded: LoadedPipeline,
): Promise<Measured[]> {
  const { adapter, checkpoint = [], policy = [] } = named;
  if (adapter && checkpoint.length > 0) throw new HoneError(cli.weights_twice());
  if (loaded.hosted && adapter) throw new HoneError(cli.adapter_of_hosted());
  const weights = (adapter ? [adapter] : checkpoint).map((word) => weightsAt(word, loaded.hosted));
  const has = await policiesOf(source, loaded);
  const measured = weights.length === 1 && policy.length < 2 ? [weighted(policy[0] ?? "tuned", weights[0]!)] : [
    ...policy.map((name) => found(name, has, source)),
    ...weights.map((at) => ({ policy: nameOf(at), weights: at })),
  ];
  const all = measured.length > 0 ? measured : usual(has, source);
  const twice = all.find(({ policy }, i) => all.findIndex((one) => one.policy === policy) < i);
  if (twice) throw new HoneError(cli.policy_named_twice(twice.policy));
  if (all.some(({ weights }) => weights) && !loaded.stages.some(({ plugin }) => plugin.kind === "trainer")) {
    throw new HoneError(cli.weights_without_trainer());
  }
  return all;
}

/** A run's last policy, or what an evaluation evaluated. */
function usual(has: Map<string, Measured>, source: Evaluated | null): Measured[] {
  if (source?.measured) return source.measured.map(({ policy }) => found(policy, has, source));
  return [has.get("tuned") ?? has.get("warm_start") ?? has.get("base")!];
}

function found(name: string, has: Map<string, Measured>, source: Evaluated | null): Measured {
  const policy = has.get(name);
  if (policy) return policy;
  if (source) throw new HoneError(cli.no_such_policy(source.run_dir, name, [...has.keys()]));
  if (name === "tuned" || name === "warm_start") throw new HoneError(cli.weights_missing(name));
  if (name === "prompt") throw new HoneError(cli.prompt_missing());
  const expected = [...has.keys()];
  const meant = nearest(name, expected);
  throw new HoneError(
    cli.bad_value("--policy", name, meant ? `did you mean ${meant}?` : `expected ${expected.join(", ")}`),
  );
}

/** Weights under the name of a policy that has some. */
function weighted(policy: string, weights: string): Measured {
  if (policy === "warm_start" || policy === "tuned") return { policy, weights };
  throw new HoneError(cli.bad_value("--policy", policy, "an adapter is evaluated as warm_start or tuned"));
}

function weightsAt(word: string, hosted: boolean): string {
  if (hosted) return word;
  const folder = resolve(word);
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw new HoneError(cli.no_weights(word));
  return folder;
}

/** A policy's name for weights: the folder's, as far as a name may have its characters. */
function nameOf(weights: string): string {
  const name = basename(weights).toLowerCase().replaceAll(/[^a-z0-9_-]/g, "-").slice(0, 30);
  return /^[a-z]/.test(name) ? name : `c-${name}`;
}

/** Every policy that can be evaluated, by name. */
async function policiesOf(
  source: Evaluated | null,
  { config, hosted }: LoadedPipeline,
): Promise<Map<string, Measured>> {
  const plain = ["base", "nothing", "reference", ...Object.keys(config.evaluate.models)];
  const has = new Map<string, Measured>(plain.map((policy) => [policy, { policy }]));
  if (config.agent.examples.length > 0) has.set("prompt", { policy: "prompt" });
  if (source === null) return has;
  const { run_dir, measured = [] } = source;
  const prompt = measured.find((one) => one.prompt)?.prompt ?? await storedPrompt(run_dir);
  if (prompt) has.set("prompt", { policy: "prompt", prompt });
  for (const [policy, weights] of await publishedBy(run_dir, hosted)) has.set(policy, { policy, weights });
  return has;
}

/** The run's published checkpoints by policy: ids if the trainer is hosted, otherwise folders that still exist. */
async function publishedBy(run_dir: string, hosted: boolean): Promise<[string, string][]> {
  await using run = await openRun(run_dir);
  const rows = await run.query("SELECT policy, checkpoint FROM policies ORDER BY seq");
  const found = rows.map(({ policy, checkpoint }): [string, string] => [String(policy), String(checkpoint)]);
  if (hosted) return found;
  const folders = found.map(([name, checkpoint]): [string, string] => [name, checkpointDir(run_dir, checkpoint)]);
  return folders.filter(([, folder]) => existsSync(folder));
}
