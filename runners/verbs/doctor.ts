/**
 * `hone doctor`: checks this machine's prerequisites and says what each is needed for.
 * @module
 */
import { existsSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { totalmem } from "node:os";
import { dirname } from "node:path";
import { z } from "zod";
import { cacheDir } from "../../pipeline/common/cache_dir.ts";
import { findEngine } from "../../pipeline/mcp/session/container.ts";
import { type Finder, finder } from "../../pipeline/mcp/session/left_behind.ts";
import { cudaDevices } from "../../pipeline/program/cuda_devices.ts";
import { vllmBackend } from "../../pipeline/program/vllm_env.ts";
import {
  ENVIRONMENT_SIZES,
  execute,
  findPython,
  type WorkerBackend,
  workerEnvState,
} from "../../pipeline/program/worker_env.ts";
import { defineVerb, indented } from "./verb.ts";

/** One prerequisite. */
const finding = z.object({
  name: z.string(),
  ok: z.boolean().nullable().describe("null: not needed on this machine, or created on first use."),
  found: z.string(),
  needed_for: z.string(),
  required: z.boolean().describe("True if training is impossible without it."),
});
type Finding = z.output<typeof finding>;

const GB = 1e9;
const DISK_GB = 2;
const MEMORY_GB = 3;
const OPENBLAS = "import ctypes, sys; ctypes.CDLL('libopenblas.so.0')";

export default defineVerb({
  name: "doctor",
  summary: "Check this machine's prerequisites.",
  description:
    "Checks programs, disk space and memory, and says what each is needed for. Starts no lasting process and writes " +
    "nothing. Exits with 1 if a prerequisite of `hone run` is missing.",
  effect: "reads",
  exit_is_result: true,
  positional: [],
  args: z.strictObject({}),
  result: z.object({
    ok: z.boolean().describe("False if a prerequisite of `hone run` is missing."),
    findings: z.array(finding),
  }),
  examples: ["hone doctor", "hone doctor --format json"],
  async run({ signal }) {
    const findings = await examine(signal);
    return { ok: findings.every(({ ok, required }) => ok !== false || !required), findings };
  },
  formats: { json: indented },
  text({ findings }) {
    const width = Math.max(...findings.map(({ name }) => name.length));
    return findings.map(({ name, ok, found, needed_for }) => {
      const mark = ok === null ? "-      " : ok ? "ok     " : "missing";
      return `${mark}  ${name.padEnd(width)}  ${found}; ${needed_for}`;
    }).join("\n");
  },
  exit: ({ ok }) => ok ? 0 : 1,
});

async function examine(signal: AbortSignal): Promise<Finding[]> {
  const uv = await version("uv", signal);
  const gpus = await gpuFinding(signal);
  const [python, mlx, lightning, vllm, blas, disk, npx, node, containers] = await Promise.all([
    pythonFinding(uv !== null, signal),
    environmentFinding("worker environment", "mlx", "trains with trainer/mlx"),
    environmentFinding("lightning environment", "lightning", "trains with trainer/lightning"),
    vllmFinding(gpus.ok === true),
    openBlas(signal),
    freeBytes(cacheDir()),
    version("npx", signal),
    version("node", signal),
    containerFinding(),
  ]);
  const memory = totalmem();
  return [
    { name: "Deno", ok: true, found: Deno.version.deno, needed_for: "runs hone", required: true },
    python,
    optional("uv", uv, "creates the worker's Python environment faster than pip"),
    mlx,
    blas,
    gpus,
    lightning,
    vllm,
    {
      name: "disk",
      ok: disk >= DISK_GB * GB,
      found: `${(disk / GB).toFixed(1)} GB free for ${cacheDir()}`,
      needed_for:
        `environment, model and runs need about ${DISK_GB} GB; trainer/lightning ${ENVIRONMENT_SIZES.lightning.disk} more`,
      required: true,
    },
    {
      name: "memory",
      ok: memory >= MEMORY_GB * GB,
      found: `${(memory / GB).toFixed(1)} GB`,
      needed_for: `the quickstart needs up to ${MEMORY_GB} GB`,
      required: true,
    },
    optional("npx", npx, "starts servers that are npm packages (hone uses Deno in its place)"),
    optional("node", node, "runs servers written for Node.js"),
    containers,
    leftBehindFinding(),
  ];
}

async function environmentFinding(name: string, backend: WorkerBackend, purpose: string): Promise<Finding> {
  const { complete, home } = await workerEnvState(backend);
  const { download, disk } = ENVIRONMENT_SIZES[backend];
  return {
    name,
    ok: complete || null,
    found: complete ? home : `not created yet (${home})`,
    needed_for: `${purpose}; created on first use, about ${download} from PyPI, and wants ${disk} of disk space`,
    required: false,
  };
}

async function vllmFinding(cuda: boolean): Promise<Finding> {
  const [name, purpose] = ["vLLM environment", "generates the rollouts of trainer/lightning"];
  try {
    return await environmentFinding(name, vllmBackend(Deno.build, cuda), purpose);
  } catch {
    return { name, ok: null, found: "does not run on this machine", needed_for: purpose, required: false };
  }
}

async function gpuFinding(signal: AbortSignal): Promise<Finding> {
  const devices = await cudaDevices(signal);
  const listed = devices?.map(({ name, memory_mib }) => `${name} (${(memory_mib / 1024).toFixed(0)} GiB)`);
  return {
    name: "CUDA devices",
    ok: devices?.length !== 0 || null,
    found: listed === undefined ? "a driver, but no nvidia-smi to list them" : listed.join(", ") || "none",
    needed_for: "trainer/lightning trains on them, on the CPU otherwise",
    required: false,
  };
}

const FINDERS: Record<Finder, string> = {
  "control groups": "by control group (cgroup v2), each server's own",
  "marks": "by a mark in their environment (no writable cgroup v2): not those that clear it",
  "process trees": "by process group and parent only: not daemons",
};

function leftBehindFinding(): Finding {
  const found = finder();
  const needed_for = "ends processes that servers leave behind, after each rollout";
  return {
    name: "leftover processes",
    ok: found === "control groups" || null,
    found: FINDERS[found],
    needed_for,
    required: false,
  };
}

async function containerFinding(): Promise<Finding> {
  const base = { name: "containers", needed_for: "runs servers with isolation: container", required: false };
  try {
    return { ...base, ok: true, found: await findEngine("") };
  } catch {
    return { ...base, ok: false, found: "neither docker nor podman responds" };
  }
}

function optional(name: string, found: string | null, needed_for: string): Finding {
  return { name, ok: found !== null, found: found ?? "not on PATH", needed_for, required: false };
}

async function pythonFinding(uv: boolean, signal: AbortSignal): Promise<Finding> {
  const base = { name: "Python", needed_for: "the worker trains and serves models with it", required: true };
  try {
    const python = await findPython({ signal }, uv);
    const found = python.startsWith(">=") ? `${python}, by uv` : await version(python, signal) ?? python;
    return { ...base, ok: true, found };
  } catch (error) {
    return { ...base, ok: false, found: (error as Error).message };
  }
}

/** The worker ships its own if the system has none; only Linux needs one. */
async function openBlas(signal: AbortSignal): Promise<Finding> {
  const base = { name: "OpenBLAS", needed_for: "makes MLX fast on a CPU", required: false };
  if (Deno.build.os !== "linux") return { ...base, ok: null, found: "not needed here" };
  const env = await workerEnvState("mlx");
  const python = env.complete ? env.python : "python3";
  const system = await execute([python, "-c", OPENBLAS], { signal }).then(() => true, () => false);
  return { ...base, ok: true, found: system ? "the system's libopenblas.so.0" : "the worker's own" };
}

/** First line of `command --version`, or null if it does not run. */
async function version(command: string, signal: AbortSignal): Promise<string | null> {
  return await execute([command, "--version"], { signal }).then(
    (text) => text.trim().split("\n")[0]!,
    () => null,
  );
}

/** Free space on the disk that holds, or will hold, `folder`. */
async function freeBytes(folder: string): Promise<number> {
  let near = folder;
  while (!existsSync(near) && dirname(near) !== near) near = dirname(near);
  const { bavail, bsize } = await statfs(near);
  return bavail * bsize;
}
