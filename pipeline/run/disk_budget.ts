/**
 * Watches how much disk space a run's folder uses, the folders of its servers included, and stops the run when that is
 * more than `limits.disk_gb`. The run can be resumed.
 * @module
 */
import { lstat, readdir } from "node:fs/promises";
import { join } from "node:path";
import { HoneError, runner as messages } from "../diagnostics/mod.ts";

/** Least time between two looks, in milliseconds. */
const LOOK_MS = 5_000;
/** A look at a folder with many files takes time: so many times as long passes until the next one. */
const REST = 50;

/** Options of a budget. */
export interface DiskBudget {
  run_dir: string;
  /** Gigabytes (10⁹ bytes). */
  limit_gb: number;
  /** Stops the run. */
  fail: (error: Error) => void;
  /** Least time between two looks, in milliseconds. */
  look_ms?: number;
}

/** Watches until it is disposed. The first look is over when this resolves. */
export async function watchDisk(budget: DiskBudget): Promise<AsyncDisposable> {
  const ended = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let looking = Promise.resolve();
  const look = async () => {
    const started = performance.now();
    const used = await usedBelow(budget.run_dir, ended.signal);
    if (ended.signal.aborted) return;
    const bytes = [...used.values()].reduce((sum, one) => sum + one, 0);
    if (bytes > budget.limit_gb * 1e9) {
      budget.fail(new HoneError(messages.disk_limit(budget.run_dir, bytes, budget.limit_gb, largest(used))));
      return;
    }
    const wait = Math.max(budget.look_ms ?? LOOK_MS, (performance.now() - started) * REST);
    timer = setTimeout(() => looking = look(), wait);
  };
  await (looking = look());
  return {
    async [Symbol.asyncDispose]() {
      ended.abort();
      clearTimeout(timer);
      await looking;
    },
  };
}

/** Bytes on disk by the name of each entry of the folder. Links are not followed; what disappears meanwhile is 0. */
async function usedBelow(folder: string, signal: AbortSignal): Promise<Map<string, number>> {
  const used = new Map<string, number>();
  for (const name of await readdir(folder).catch(() => [])) used.set(name, await bytesOf(join(folder, name), signal));
  return used;
}

async function bytesOf(root: string, signal: AbortSignal): Promise<number> {
  let sum = 0;
  const open = [root];
  for (let path = open.pop(); path !== undefined && !signal.aborted; path = open.pop()) {
    const info = await lstat(path).catch(() => null);
    if (info === null) continue;
    sum += (info.blocks ?? 0) * 512 || info.size;
    if (!info.isDirectory()) continue;
    for (const name of await readdir(path).catch(() => [])) open.push(join(path, name));
  }
  return sum;
}

function largest(used: Map<string, number>): [string, number][] {
  return [...used].sort(([, a], [, b]) => b - a).slice(0, 3);
}
