/**
 * Finds what a server leaves behind: daemons that left its process group and its tree, which neither a signal to the
 * group nor a list of parents and children reaches. On Linux each server has a control group (cgroup v2) of its own where hone
 * may make one; a process cannot leave that by forking. Elsewhere on Linux a mark in its environment, which children
 * inherit, finds all that did not clear theirs. On other systems only process groups and trees are known.
 * @module
 */
import { randomUUID } from "node:crypto";
import { accessSync, constants, readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";

/** How processes that a server leaves behind are found. */
export type Finder = "control groups" | "marks" | "process trees";

/** A process, as far as it matters here. */
export interface ProcessInfo {
  pid: number;
  parent: number;
  /** Value of `MARK` in its environment, where that can be read. */
  mark?: string;
}

/** Name of the variable that marks a server and all that it starts. */
export const MARK = "HONE_MARK";
/** What every mark of this process begins with. */
export const OWN_MARK = randomUUID();

const LINUX = Deno.build.os === "linux";
const ROUNDS = 50;
const ROUND_MS = 20;
let traced = 0;

/** The processes of one server. */
export class Trace {
  readonly mark: string;
  readonly group: { name: string; path: string } | null;

  /** Makes the server's control group, where hone may. */
  constructor() {
    this.mark = `${OWN_MARK}.${++traced}`;
    const folder = groupsFolder();
    const name = `hone-${Deno.pid}-${traced}`;
    this.group = folder === null ? null : { name, path: `${folder}/${name}` };
    try {
      if (this.group) Deno.mkdirSync(this.group.path);
    } catch {
      this.group = null;
    }
  }

  /** The command, run in the control group. A shell enters it, so that nothing can be started before that. */
  enter(program: { command: string; args: string[] }): { command: string; args: string[] } {
    if (!this.group) return program;
    const args = ["-c", ENTER, `${this.group.path}/cgroup.procs`, program.command, ...program.args];
    return { command: "/bin/sh", args };
  }

  /** Moves a process that has just been started to the control group. */
  take(pid: number): void {
    if (!this.group) return;
    try {
      Deno.writeTextFileSync(`${this.group.path}/cgroup.procs`, String(pid));
    } catch {
      // It has ended.
    }
  }

  /** Ends all that is left, and removes the control group. */
  async end(): Promise<void> {
    if (this.group) {
      for (let round = 0; round < ROUNDS; round++) {
        await Deno.writeTextFile(`${this.group.path}/cgroup.kill`, "1").catch(() => {});
        if (await removeGroup(this.group.path)) return;
        await pause(ROUND_MS);
      }
    } else await this.endOthers();
  }

  /** Ends all that is left except a process and what is below it. */
  async endOthers(kept?: number): Promise<void> {
    if (!LINUX) return;
    for (let round = 0; round < ROUNDS; round++) {
      const all = await (this.group ? membersOf(this.group.path) : processes());
      const own = this.group ? all : all.filter(({ mark }) => mark === this.mark);
      const tree = kept === undefined ? new Set() : below(kept, all);
      const left = own.filter(({ pid }) => !tree.has(pid));
      if (left.length === 0) return;
      for (const { pid } of left) kill(pid);
      await pause(ROUND_MS);
    }
  }
}

/** Stays where it is if the group cannot be entered: the mark still finds it then. */
const ENTER = 'echo 0 2>/dev/null >"$0"; exec "$@"';

/** How this machine's processes are found, and why not better. */
export function finder(): Finder {
  return groupsFolder() !== null ? "control groups" : LINUX ? "marks" : "process trees";
}

let folder: string | null | undefined;

/** Folder of hone's own control group, if hone may make others in it and move its children there; else null. */
export function groupsFolder(): string | null {
  return folder ??= LINUX ? usableGroup() : null;
}

function usableGroup(): string | null {
  try {
    const own = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1];
    const mount = readFileSync("/proc/self/mountinfo", "utf8").split("\n").find((line) => / - cgroup2 /.test(line));
    const [, , , root, at] = mount?.split(" ") ?? [];
    if (own === undefined || at === undefined || root === undefined) return null;
    const path = `${at}${root === "/" ? own : own.startsWith(root) ? own.slice(root.length) : own}`.replace(/\/+$/, "");
    accessSync(`${path}/cgroup.procs`, constants.W_OK);
    return tried(path) ? path : null;
  } catch {
    return null;
  }
}

/** Whether a process can be moved into a new group and ended there. */
function tried(path: string): boolean {
  const group = `${path}/hone-${Deno.pid}-0`;
  try {
    Deno.mkdirSync(group);
    accessSync(`${group}/cgroup.kill`, constants.W_OK);
    const args = [
      "-c",
      'echo 0 >"$0" && grep -q "$1" /proc/self/cgroup',
      `${group}/cgroup.procs`,
      `hone-${Deno.pid}-0`,
    ];
    return new Deno.Command("/bin/sh", { args, stdin: "null", stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  } finally {
    try {
      Deno.removeSync(group);
    } catch {
      // Not made, or the process in it is just being removed; an empty group does no harm.
    }
  }
}

/** True once the group is gone; groups that its processes made in it go first. */
async function removeGroup(path: string): Promise<boolean> {
  const inner = await readdir(path, { withFileTypes: true }).catch(() => []);
  for (const entry of inner) if (entry.isDirectory()) await removeGroup(`${path}/${entry.name}`);
  return await Deno.remove(path).then(() => true, (error) => error instanceof Deno.errors.NotFound);
}

/** The processes in a group and in groups that they made. */
async function membersOf(path: string): Promise<ProcessInfo[]> {
  const pids = (await readFile(`${path}/cgroup.procs`, "utf8").catch(() => "")).split("\n").filter(Boolean);
  const inner = await readdir(path, { withFileTypes: true }).catch(() => []);
  const deeper = await Promise.all(
    inner.filter((entry) => entry.isDirectory()).map(({ name }) => membersOf(`${path}/${name}`)),
  );
  const own = await Promise.all(pids.map((pid) => infoOf(pid, false)));
  return [...own.flatMap((one) => one ?? []), ...deeper.flat()];
}

let next: Promise<ProcessInfo[]> | undefined;
let current: Promise<unknown> = Promise.resolve();

/** All processes. Those who ask while a look is under way share the next one. */
export function processes(): Promise<ProcessInfo[]> {
  return next ??= current.then(() => {
    next = undefined;
    const looked = LINUX ? lookAround() : listed();
    current = looked.catch(() => {});
    return looked;
  });
}

async function lookAround(): Promise<ProcessInfo[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  return (await Promise.all(pids.map((pid) => infoOf(pid, true)))).flatMap((one) => one ?? []);
}

async function infoOf(pid: string, marked: boolean): Promise<ProcessInfo | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    if (state === "Z" || state === "X") return null;
    const environ = marked ? await readFile(`/proc/${pid}/environ`, "utf8").catch(() => "") : "";
    const mark = environ.split("\0").find((line) => line.startsWith(`${MARK}=`))?.slice(MARK.length + 1);
    return { pid: Number(pid), parent: Number(parent), mark };
  } catch {
    return null; // It has ended.
  }
}

async function listed(): Promise<ProcessInfo[]> {
  try {
    const args = ["-A", "-o", "pid=", "-o", "ppid="];
    const { stdout } = await new Deno.Command("ps", { args, stdin: "null", stderr: "null" }).output();
    const lines = new TextDecoder().decode(stdout).trim().split("\n");
    return lines.map((line) => line.trim().split(/\s+/).map(Number)).map(([pid, parent]) => ({
      pid: pid!,
      parent: parent!,
    }));
  } catch {
    return []; // No ps here: what is in the process's own group dies all the same.
  }
}

/** A process and all below it. */
export function below(pid: number, all: readonly ProcessInfo[]): Set<number> {
  const found = new Set([pid]);
  for (let size = 0; size < found.size;) {
    size = found.size;
    for (const { pid, parent } of all) if (found.has(parent)) found.add(pid);
  }
  return found;
}

function kill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}
