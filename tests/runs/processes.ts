/**
 * Which processes a run has, read from /proc: its descendants, and whatever names its folder. Linux only.
 * @module
 */
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** A process: `started` tells it from a later one with the same id. */
export interface Process {
  pid: number;
  parent: number;
  started: string;
  command: string;
  environment: string;
}

/** All processes of the machine that can be read. */
export async function processes(): Promise<Process[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const read = await Promise.all(pids.map(async (pid) => {
    const text = (file: string) => readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "");
    const [stat, command, environment] = await Promise.all([text("stat"), text("cmdline"), text("environ")]);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const live = fields[0] !== "Z" && fields.length > 19;
    const words = command.replaceAll("\0", " ").trim();
    return live && { pid: Number(pid), parent: Number(fields[1]), started: fields[19]!, command: words, environment };
  }));
  return read.filter((one) => one !== false);
}

/** Children of a process, their children, and so on. */
export async function descendants(pid: number): Promise<Process[]> {
  const all = await processes();
  const found: Process[] = [];
  for (let parents = [pid]; parents.length > 0;) {
    const children = all.filter(({ parent }) => parents.includes(parent));
    found.push(...children);
    parents = children.map((child) => child.pid);
  }
  return found;
}

/** Waits until `known` and every process that names the folder are gone; gives those still there after ten seconds. */
export async function leftovers(dir: string, known: Process[] = []): Promise<string[]> {
  const ids = new Set(known.map(({ pid, started }) => `${pid} ${started}`));
  const end = Date.now() + 10_000;
  for (;;) {
    const left = (await processes()).filter(({ pid, started, command, environment }) =>
      pid !== Deno.pid && (ids.has(`${pid} ${started}`) || `${command}\0${environment}`.includes(dir))
    );
    if (left.length === 0 || Date.now() > end) return left.map(({ pid, command }) => `${pid} ${command}`);
    await sleep(100);
  }
}
