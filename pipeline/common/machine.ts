/** The machine that hone is running on, as it is recorded. @module */
import { arch, cpus, release, totalmem, type } from "node:os";
import type { Machine } from "../events.ts";

/** Its processor, memory and operating system. */
export function machine(): Machine {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() || "unknown",
    cores: all.length,
    memory_bytes: totalmem(),
    os: `${type()} ${release()} (${arch()})`,
  };
}
