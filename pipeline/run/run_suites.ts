/**
 * The suites of a run (`evaluate.suites`): once the run has its verdict and has let go of its model, each is an
 * evaluation of the same policies in a folder of its own, `suites/<name>`, with records and a report like any other.
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { textOf } from "../common/read_text.ts";
import { policyPrices } from "../config/policy_prices.ts";
import type { LoadedPipeline } from "../config/pipeline_file.ts";
import { openRun } from "../store/live_run.ts";
import { checkpointDir, DATABASE } from "../store/run_folder.ts";
import { makeVerdict, type Verdict, withSuites, writeReports } from "../verdict/mod.ts";
import type { Measured } from "./context.ts";
import type { RunOptions, RunResult } from "./run_options.ts";
import { storedPrompt } from "./prompting/stored_prompt.ts";

/** What a suite is run with. */
export interface SuiteRun {
  loaded: LoadedPipeline;
  options: RunOptions;
  /** What the run evaluated, if it did nothing else. */
  measured?: Measured[];
  /** Runs one pipeline without suites. */
  run: (loaded: LoadedPipeline, options: RunOptions) => Promise<RunResult>;
}

/** Evaluates the suites that are not evaluated yet, and adds them to the run's verdict and reports. */
export async function runSuites(result: RunResult, { loaded, options, measured, run }: SuiteRun): Promise<RunResult> {
  const { run_dir } = options;
  const measure = await policiesOf(loaded, run_dir, measured);
  const verdicts: Record<string, Verdict> = {};
  for (const [name, suite] of Object.entries(loaded.suites ?? {})) {
    const folder = join(run_dir, "suites", name);
    const resume = existsSync(join(folder, DATABASE));
    if (resume && await isCompleted(folder)) {
      verdicts[name] = await verdictOf(suite, folder);
      continue;
    }
    const hooks = named(`suite ${name}`, options);
    const ended = await run(suite, { run_dir: folder, signal: options.signal, measure, resume, ...hooks });
    if (ended.status !== "completed") return { ...ended, run_dir, kept: true, verdict: result.verdict };
    verdicts[name] = ended.verdict!;
  }
  const verdict = withSuites(result.verdict!, verdicts);
  await using records = await openRun(run_dir);
  await writeReports(run_dir, records, verdict, { status: result.status });
  return { ...result, verdict };
}

/** The verdict of a finished run, from its records. */
export async function verdictOf({ config }: LoadedPipeline, run_dir: string): Promise<Verdict> {
  await using records = await openRun(run_dir);
  return await makeVerdict({ store: records, config: { ...config, prices: policyPrices(config) } });
}

/** Whether a run has ended with its verdict; its suites may still be missing. */
export async function isCompleted(run_dir: string): Promise<boolean> {
  await using records = await openRun(run_dir);
  const [facts] = await records.query("SELECT status FROM runs");
  return facts?.status === "completed";
}

/** The names of a run's suites, as its own pipeline file has them. */
export async function suiteNames(run_dir: string): Promise<string[]> {
  const file = join(run_dir, "pipeline.yaml");
  if (!existsSync(file)) return [];
  const { evaluate, tape } = parse(await textOf(file)) ?? {};
  // The file may have been edited: a name is not to lead to another folder.
  const names = Object.keys(evaluate?.suites ?? {}).filter((name) => /^[a-z][a-z0-9_-]*$/.test(name));
  return tape?.mode === "replay" ? [] : names;
}

/** Whether all suites of a run are evaluated. */
export async function suitesCompleted(run_dir: string): Promise<boolean> {
  for (const name of await suiteNames(run_dir)) {
    const folder = join(run_dir, "suites", name);
    if (!existsSync(join(folder, DATABASE)) || !(await isCompleted(folder))) return false;
  }
  return true;
}

/** The run's policies, with the weights and the prompt that they ended with. */
async function policiesOf(
  { config, hosted }: LoadedPipeline,
  run_dir: string,
  measured: Measured[] | undefined,
): Promise<Measured[]> {
  const folder = (weights: string) => hosted ? weights : checkpointDir(run_dir, weights);
  if (measured) {
    return measured.map((one) => one.weights === undefined ? one : { ...one, weights: folder(one.weights) });
  }
  await using records = await openRun(run_dir);
  const rows = await records.query("SELECT policy, checkpoint FROM policies WHERE checkpoint <> '' ORDER BY seq");
  const published = new Map(rows.map(({ policy, checkpoint }) => [String(policy), folder(String(checkpoint))]));
  const prompt = await storedPrompt(run_dir);
  return config.evaluate.policies.flatMap((policy): Measured[] => {
    const weights = published.get(policy);
    if (weights !== undefined) return hosted || existsSync(weights) ? [{ policy, weights }] : [];
    if (policy === "prompt" && prompt) return [{ policy, prompt }];
    // Not trained: no step was taken.
    return policy === "warm_start" || policy === "tuned" ? [] : [{ policy }];
  });
}

/** Progress and log with the name of the suite. */
function named(name: string, { on_progress, on_log }: RunOptions): Pick<RunOptions, "on_progress" | "on_log"> {
  return {
    on_progress: (read) =>
      on_progress?.(() => {
        const snapshot = read();
        return { ...snapshot, rung: `${name}: ${snapshot.rung}` };
      }),
    on_log: (level, message) => on_log?.(level, `${name}: ${message}`),
  };
}
