/**
 * The NVIDIA GPUs of this machine, as the driver's own tool lists them. Nothing is installed or loaded for it.
 * @module
 */
import { existsSync } from "node:fs";
import { execute } from "./worker_env.ts";

/** One GPU. */
export interface CudaDevice {
  name: string;
  memory_mib: number;
}

const QUERY = ["--query-gpu=name,memory.total", "--format=csv,noheader,nounits"];
/** A driver that hangs (a GPU fell off the bus) says nothing for minutes. */
const PATIENCE_MS = 20_000;

/** The GPUs; undefined where a driver is loaded but `nvidia-smi` is not there to list them. */
export async function cudaDevices(signal: AbortSignal): Promise<CudaDevice[] | undefined> {
  const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
  const listed = await execute(["nvidia-smi", ...QUERY], { signal: patience }).catch(() => undefined);
  signal.throwIfAborted();
  return listed === undefined ? hasDriver() ? undefined : [] : devicesOf(listed);
}

/** Reads what `nvidia-smi` lists, a line for each GPU. */
export function devicesOf(listed: string): CudaDevice[] {
  return listed.split("\n").flatMap((line) => {
    const comma = line.lastIndexOf(",");
    const [name, memory] = [line.slice(0, comma).trim(), Number(line.slice(comma + 1))];
    return comma > 0 && name !== "" ? [{ name, memory_mib: Number.isFinite(memory) ? memory : 0 }] : [];
  });
}

/** Whether an NVIDIA driver is loaded; under WSL it shows only its library. */
export function hasDriver(): boolean {
  return ["/proc/driver/nvidia/version", "/usr/lib/wsl/lib/libcuda.so.1"].some(existsSync);
}
