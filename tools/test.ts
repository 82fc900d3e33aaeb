/**
 * Runs every test there is and says so honestly: Deno's, the worker's under pytest in the worker's own environment, and
 * those examples that train a model, one after the other. Suites that download gigabytes run only where they are named.
 * The last line is `N passed, N failed`; the exit code is 1 when anything failed or a suite ran nothing.
 * Run: deno run -A tools/test.ts [--unit] [--deno | --worker | --examples | --lightning | --mlflow | --vllm]   (--unit leaves out all but the first, and tests/)
 * @module
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cacheDir } from "../pipeline/common/cache_dir.ts";
import { ensureVllmEnv } from "../pipeline/program/vllm_env.ts";
import { ensureWorkerEnv, type WorkerBackend } from "../pipeline/program/worker_env.ts";
import { ROOT } from "./sources.ts";

/** Examples that train a model: both cores are theirs. */
const TRAINING_EXAMPLES = ["examples/verdict", "examples/judged"];
/** Tests of trainer/lightning, in an environment of its own. */
const LIGHTNING = "tests/lightning";
/** Tests at a real MLflow server. */
const MLFLOW = "tests/mlflow";
/** Whole runs with a real vLLM. */
const VLLM = "tests/vllm";
const WORKER = join(ROOT, "plugins/trainer/worker");

/** Counts of one suite. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** Adds up the suites of a JUnit file. */
export function countJunit(xml: string): Counts {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [, body = ""] of xml.matchAll(/<testcase\b(?:[^>]*\/>|([\s\S]*?)<\/testcase>)/g)) {
    if (/<(failure|error)\b/.test(body)) counts.failed++;
    else if (/<skipped\b/.test(body)) counts.skipped++;
    else counts.passed++;
  }
  return counts;
}

/** What a suite's counts and exit code amount to: a suite that broke or ran nothing has failed, whatever it counted. */
export function verdictOf(counts: Counts, code: number): Counts {
  const broken = counts.failed === 0 && (code !== 0 || counts.passed === 0);
  return broken ? { ...counts, failed: 1 } : counts;
}

async function suite(
  name: string,
  command: string[],
  junit: string,
  options: { cwd: string; env?: Record<string, string> },
): Promise<Counts> {
  console.log(`── ${name}`);
  const child = spawn(command[0]!, command.slice(1), {
    cwd: options.cwd,
    env: { ...Deno.env.toObject(), ...options.env },
    stdio: "inherit",
  });
  const code = await new Promise<number>((resolve) => {
    child.once("close", (code) => resolve(code ?? 1));
    child.once("error", () => resolve(1));
  });
  return verdictOf(
    existsSync(junit) ? countJunit(readFileSync(junit, "utf8")) : { passed: 0, failed: 0, skipped: 0 },
    code,
  );
}

async function denoSuite(folder: string, unit: boolean): Promise<Counts> {
  const junit = join(folder, "deno.xml");
  const paths = unit
    ? ["pipeline", "plugins", "runners", "tools"]
    : [`--ignore=${[...TRAINING_EXAMPLES, LIGHTNING, MLFLOW, VLLM].join(",")}`];
  const command = [
    Deno.execPath(),
    "test",
    "--frozen",
    "-A",
    "--parallel",
    "--reporter=dot",
    `--junit-path=${junit}`,
    ...paths,
  ];
  return await suite("Deno", command, junit, { cwd: ROOT });
}

async function mlflowSuite(folder: string): Promise<Counts> {
  const junit = join(folder, "mlflow.xml");
  const command = [Deno.execPath(), "test", "--frozen", "-A", `--junit-path=${junit}`, MLFLOW];
  return await suite("MLflow", command, junit, { cwd: ROOT });
}

async function examplesSuite(folder: string): Promise<Counts> {
  const junit = join(folder, "examples.xml");
  const command = [Deno.execPath(), "test", "--frozen", "-A", `--junit-path=${junit}`, ...TRAINING_EXAMPLES];
  return await suite("examples that train a model", command, junit, { cwd: ROOT });
}

async function workerPython(backend: WorkerBackend): Promise<string> {
  const signal = new AbortController().signal;
  return (await ensureWorkerEnv({ backend, on_progress: (line) => console.log(line), signal })).python;
}

/** The worker's tests in one of its environments; `paths`: which, by default all that run in it. */
async function workerSuite(
  folder: string,
  backend: WorkerBackend,
  { paths = [], env = () => Promise.resolve({}) }: { paths?: string[]; env?: () => Promise<Record<string, string>> } =
    {},
): Promise<Counts> {
  const junit = join(folder, `pytest-${backend}.xml`);
  try {
    const python = await workerPython(backend);
    const site = await pytestFolder(python);
    const command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", `--junitxml=${junit}`, ...paths];
    return await suite(`worker in the environment ${backend} (pytest)`, command, junit, {
      cwd: WORKER,
      env: {
        PYTHONPATH: site,
        PYTHONDONTWRITEBYTECODE: "1",
        HONE_MODEL_CACHE: cacheDir(),
        HONE_TEST_CACHE: cacheDir(),
        ...await env(),
      },
    });
  } catch (error) {
    console.error(`the worker's tests could not run: ${(error as Error).message}`);
    return { passed: 0, failed: 1, skipped: 0 };
  }
}

/** The Lightning engine's tests beside those of MLX, with which it is compared, and whole runs with trainer/lightning. */
async function lightningSuite(folder: string): Promise<[string, Counts][]> {
  const env = async () => ({ HONE_MLX_PYTHON: await workerPython("mlx") });
  const engine = await workerSuite(folder, "lightning", { paths: ["tests/lightning"], env });
  const junit = join(folder, "lightning.xml");
  const command = [Deno.execPath(), "test", "--frozen", "-A", `--junit-path=${junit}`, LIGHTNING];
  return [["lightning engine", engine], ["trainer/lightning", await suite("runs", command, junit, { cwd: ROOT })]];
}

/** The worker and whole runs with a real vLLM, in an environment of its own: minutes to start, gigabytes of memory. */
async function vllmSuite(folder: string): Promise<[string, Counts][]> {
  const signal = new AbortController().signal;
  const env = async () => {
    const { python } = await ensureVllmEnv({ on_progress: (line) => console.log(line), signal });
    return { HONE_VLLM_PYTHON: python };
  };
  const worker = await workerSuite(folder, "lightning", { paths: ["tests/real_vllm"], env });
  const junit = join(folder, "vllm.xml");
  const command = [Deno.execPath(), "test", "--frozen", "-A", `--junit-path=${junit}`, VLLM];
  return [["vLLM", worker], ["runs with vLLM", await suite("runs with vLLM", command, junit, { cwd: ROOT })]];
}

/** The report's tests look at it in a real browser: on Debian, as root, install one where there is none. */
async function ensureBrowser(): Promise<void> {
  const there = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", "/usr/bin/apt-get"].map(
    existsSync,
  );
  if (there.slice(0, 3).includes(true) || Deno.env.get("HONE_CHROMIUM") || !there[3] || Deno.uid() !== 0) return;
  console.log("── installing chromium for the report's tests");
  for (const words of [["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]]) {
    await new Deno.Command("apt-get", { args: words, stdout: "null", env: { DEBIAN_FRONTEND: "noninteractive" } })
      .output();
  }
}

/** A folder with pytest for this Python, made once: hone's own environment stays as users have it. */
async function pytestFolder(python: string): Promise<string> {
  const lock = join(WORKER, "requirements/test.txt");
  const key = createHash("sha256").update(readFileSync(lock)).update(python).digest("hex").slice(0, 16);
  const site = join(cacheDir(), "test-site", key);
  if (existsSync(join(site, ".complete"))) return site;
  await mkdir(site, { recursive: true });
  const run = (command: string[]) =>
    new Promise<number>((resolve) => {
      const child = spawn(command[0]!, command.slice(1), { stdio: ["ignore", "ignore", "inherit"] });
      child.once("close", (code) => resolve(code ?? 1)).once("error", () => resolve(127));
    });
  const rest = ["--only-binary=:all:", "--require-hashes", "--target", site, "-r", lock];
  const code = await run(["uv", "pip", "install", "--quiet", "--python", python, ...rest]);
  if (code !== 0 && await run([python, "-m", "pip", "install", "--quiet", ...rest]) !== 0) {
    throw new Error(`cannot install pytest from ${lock}`);
  }
  await writeFile(join(site, ".complete"), "");
  return site;
}

if (import.meta.main) {
  const flags = new Set(Deno.args);
  const folder = mkdtempSync(join(tmpdir(), "hone-tests-"));
  const results: [string, Counts][] = [];
  const wanted = (name: string) => {
    const named = ["--deno", "--worker", "--examples", "--lightning", "--mlflow", "--vllm"].filter((flag) =>
      flags.has(flag)
    );
    return named.length > 0 ? named.includes(name) : name === "--deno" || !flags.has("--unit");
  };
  if (wanted("--deno") && !flags.has("--unit")) await ensureBrowser();
  if (wanted("--deno")) results.push(["Deno", await denoSuite(folder, flags.has("--unit"))]);
  if (wanted("--worker")) results.push(["worker", await workerSuite(folder, "mlx")]);
  if (wanted("--examples")) results.push(["examples", await examplesSuite(folder)]);
  if (flags.has("--mlflow")) results.push(["MLflow", await mlflowSuite(folder)]);
  if (flags.has("--lightning")) results.push(...await lightningSuite(folder));
  if (flags.has("--vllm")) results.push(...await vllmSuite(folder));
  rmSync(folder, { recursive: true });
  for (const [name, { passed, failed, skipped }] of results) {
    console.log(`${name}: ${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`);
  }
  const total = (pick: (counts: Counts) => number) => results.reduce((sum, [, counts]) => sum + pick(counts), 0);
  const failed = total((counts) => counts.failed);
  console.log(`${total((counts) => counts.passed)} passed, ${failed} failed`);
  Deno.exit(failed > 0 ? 1 : 0);
}
