/**
 * `deno task bench:learning`: does the pipeline learn, and is it the rewards that teach? Runs `examples/files` over
 * several seeds, and the same with shuffled rewards as the negative control, through the command line; pools the
 * held-out pairs; writes the table into docs/benchmarks.md. Call it again to go on where it stopped: finished runs
 * are read, begun ones resumed. With `--trainer lightning` it compares that trainer with trainer/mlx instead, seed by
 * seed, in a table of its own and without the control.
 *
 *     deno run -A tools/bench_learning.ts [--seeds 7,8,9] [--control-seeds 7,8,9] [--pipeline FILE] [--dir DIR]
 *                                         [--set key=value]… [--document FILE] [--table-only] [--trainer mlx|lightning]
 * @module
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Store } from "../pipeline/store/store.ts";
import { evaluatedRollouts } from "../pipeline/verdict/evaluated_rollouts.ts";
import { gainsApart, type LearningRun, learningTable, replaceBetween } from "./learning_table.ts";

const ROOT = new URL("..", import.meta.url).pathname;

interface Arm {
  name: string;
  folder: string;
  seeds: number[];
  overrides: string[];
}

const { values: flags } = parseArgs({
  options: {
    seeds: { type: "string", default: "7,8,9" },
    "control-seeds": { type: "string", default: "7,8,9" },
    pipeline: { type: "string", default: "examples/files/pipeline.yaml" },
    dir: { type: "string", default: "runs/bench-learning" },
    set: { type: "string", multiple: true, default: [] },
    document: { type: "string", default: "docs/benchmarks.md" },
    "table-only": { type: "boolean", default: false },
    trainer: { type: "string", default: "mlx" },
  },
});
if (!["mlx", "lightning"].includes(flags.trainer)) {
  throw new Error(`--trainer is ${flags.trainer}; mlx or lightning is wanted`);
}
const compared = flags.trainer !== "mlx";
const mark = compared ? `bench:learning ${flags.trainer}` : "bench:learning";

const numbers = (text: string) => text.split(",").filter(Boolean).map(Number);
const seeds = numbers(flags.seeds);
const arms: Arm[] = compared
  ? [
    { name: "trainer/mlx", folder: "learning", seeds, overrides: [] },
    {
      name: `trainer/${flags.trainer}`,
      folder: flags.trainer,
      seeds,
      overrides: [`stages.trainer.use=trainer/${flags.trainer}`],
    },
  ]
  : [
    { name: "rewards as they are", folder: "learning", seeds, overrides: [] },
    {
      name: "rewards shuffled",
      folder: "control",
      seeds: numbers(flags["control-seeds"]),
      overrides: ["train.shuffle_rewards=true"],
    },
  ];

const runs: LearningRun[] = [];
for (const arm of arms) {
  for (const seed of arm.seeds) {
    const dir = join(resolve(ROOT, flags.dir), `${arm.folder}-${seed}`);
    if (!flags["table-only"]) await runToTheEnd(dir, [`seed=${seed}`, ...arm.overrides, ...flags.set]);
    const run = await readRun(dir, arm.name, seed);
    if (run) runs.push(run);
    else console.error(`${dir}: not finished, left out of the table`);
    if (runs.length > 0) await writeTable(runs);
  }
}
if (runs.length === 0) throw new Error(`no finished run under ${flags.dir}: nothing to write`);
console.log(tableOf(runs));

/** Starts or resumes one run and waits for its end. */
async function runToTheEnd(dir: string, overrides: string[]): Promise<void> {
  if (await readRun(dir, "", 0)) return;
  const begun = existsSync(join(dir, "run.duckdb"));
  const verb = begun
    ? ["resume", dir, "--yes"]
    : ["run", resolve(ROOT, flags.pipeline), "--run-dir", dir, "--yes", ...overrides.flatMap((one) => ["--set", one])];
  console.error(`${new Date().toISOString()} ${verb.join(" ")}`);
  const child = new Deno.Command(Deno.execPath(), { args: ["run", "-A", join(ROOT, "mod.ts"), ...verb], cwd: ROOT });
  const { success, code } = await child.spawn().status;
  if (!success) {
    throw new Error(`${verb[0]} of ${dir} ended with exit code ${code}; call bench:learning again to resume`);
  }
}

/** Reads a run that has come to its end, or null. */
async function readRun(dir: string, arm: string, seed: number): Promise<LearningRun | null> {
  const file = join(dir, "run.duckdb");
  if (!existsSync(file)) return null;
  await using run = await Store.open(file, { run_id: basename(dir), mode: "read" });
  const [facts] = await run.query("SELECT status, (ended_at - started_at) / 60000.0 AS minutes FROM runs");
  if (facts?.status !== "completed") return null;
  return { arm, seed, minutes: Number(facts.minutes), rollouts: await evaluatedRollouts(run, "heldout") };
}

function tableOf(done: readonly LearningRun[]): string {
  return compared ? `${learningTable(done)}\n\n${gainsApart(done)}` : learningTable(done);
}

async function writeTable(done: readonly LearningRun[]): Promise<void> {
  const file = resolve(ROOT, flags.document);
  const command = ["deno task bench:learning", ...Deno.args].join(" ");
  const date = new Date().toISOString().slice(0, 10);
  const wanted = arms.reduce((sum, arm) => sum + arm.seeds.length, 0);
  const head = `\`${command}\`, ${date}, revision ${await revision()}, ${availableParallelism()} cores, ` +
    `${Deno.build.target}, ${done.length} of ${wanted} runs.`;
  const document = existsSync(file) ? await readFile(file, "utf8") : "# Benchmarks\n";
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, replaceBetween(document, mark, `${head}\n\n${tableOf(done)}`));
}

async function revision(): Promise<string> {
  const git = await new Deno.Command("git", { args: ["describe", "--always", "--dirty"], cwd: ROOT }).output();
  return git.success ? new TextDecoder().decode(git.stdout).trim() : "unknown";
}
