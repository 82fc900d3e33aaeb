/**
 * Changes of a server process outside of its rollout's folders: files next to its program, at paths in its declaration,
 * and (on Linux) files that it has open for writing. Detection is incomplete without support of the operating system;
 * it covers the known behaviour of servers, and ignores a program's source, its logs and files of package caches.
 * @module
 */
import { readdir, readFile, readlink, realpath, stat } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { dirname, isAbsolute, join, sep } from "node:path";
import type { ProcessSpec } from "../session/process.ts";

/** A process to look at. */
export interface Suspect {
  spec: ProcessSpec;
  /** Id of its process group. */
  group: number;
  /** Folder that holds everything of the run's rollouts; what is written there is in its place. */
  inside: string;
  /** Milliseconds since 1970; what is older is not its doing in this rollout. */
  since: number;
}

const MAX_ENTRIES = 20_000;
const MARKS = ["package.json", "pyvenv.cfg", "pyproject.toml", "deno.json"];
const MARK_LEVELS = 6;
const SKIPPED = new Set(["node_modules", ".git", "__pycache__", "site-packages"]);
const PROGRAM = /\.([cm]?[jt]sx?|py[cio]?|md|log)$/;
const COMMON = new Set(["/", "/usr", "/bin", "/usr/bin", "/usr/local/bin", "/opt", "/etc", "/dev", "/tmp", "/var/tmp"]);

/** A file outside of the rollout's folders that changed while it ran, or null where none was found. Never throws. */
export async function changedOutside(suspect: Suspect): Promise<string | null> {
  const seen = new Set<string>();
  for (const place of await places(suspect)) {
    if (seen.has(place)) continue;
    seen.add(place);
    const found = await changed(place, suspect);
    if (found) return found;
  }
  for (const file of await heldOpen(suspect)) if (await isChanged(file, suspect)) return file;
  return null;
}

/** Where a server of this kind would write: next to its program, and at the paths that it was given. */
async function places({ spec, group, inside }: Suspect): Promise<string[]> {
  const words = [...spec.args, ...Object.values(spec.own_env ?? {}), spec.cwd, ...await commandWords(group)];
  const found = await Promise.all(words.map(async (word) => {
    const npm = /^npm:\/?((?:@[^/@]+\/)?[^/@]+)/.exec(word);
    if (npm) return await denoPackage(npm[1]!, spec.env.DENO_DIR);
    return isAbsolute(word) ? await rootOf(word, inside) : [];
  }));
  return found.flat();
}

/** The words of the command lines of a process group. */
async function commandWords(group: number): Promise<string[]> {
  try {
    const { stdout } = await new Deno.Command("ps", { args: ["-A", "-o", "pgid=,args="], stdin: "null" }).output();
    const lines = new TextDecoder().decode(stdout).split("\n").map((line) => line.trim().split(/\s+/));
    return lines.flatMap(([id, ...words]) => id === String(group) ? words : []);
  } catch {
    return [];
  }
}

/** The package that a file belongs to, its folder, or the file alone where that folder is everyone's. */
async function rootOf(path: string, inside: string): Promise<string[]> {
  try {
    const real = await realpath(path);
    const everyones = (dir: string) =>
      COMMON.has(dir) || dir === homedir() || dir === tmpdir() || `${inside}${sep}`.startsWith(`${dir}${sep}`);
    if (within(real, inside)) return [];
    if ((await stat(real)).isDirectory()) return everyones(real) ? [] : [real];
    let dir = dirname(real);
    for (let level = 0; level < MARK_LEVELS && !everyones(dir); level++, dir = dirname(dir)) {
      const entries = await readdir(dir);
      if (MARKS.some((mark) => entries.includes(mark))) return [dir];
    }
    return everyones(dirname(real)) ? [real] : [dirname(real)];
  } catch {
    return [];
  }
}

/** Deno keeps the packages of a registry at `npm/<registry>/<name>/<version>`. */
async function denoPackage(name: string, deno_dir?: string): Promise<string[]> {
  if (!deno_dir) return [];
  const registries = await readdir(join(deno_dir, "npm")).catch(() => []);
  return registries.map((registry) => join(deno_dir, "npm", registry, name));
}

/** Files below a place that changed since. */
async function changed(place: string, suspect: Suspect): Promise<string | null> {
  const open = [place];
  for (let count = 0; open.length > 0 && count < MAX_ENTRIES;) {
    const at = open.pop()!;
    const entries = await readdir(at, { withFileTypes: true }).catch(() => null);
    if (!entries) {
      if (await isChanged(at, suspect)) return at;
      continue;
    }
    if (entries.some(({ name }) => name === "run.duckdb")) continue;
    for (const entry of entries) {
      count++;
      const path = join(at, entry.name);
      if (entry.isDirectory()) {
        if (!SKIPPED.has(entry.name) && !within(path, suspect.inside)) open.push(path);
      } else if (entry.isFile() && await isChanged(path, suspect)) return path;
    }
  }
  return null;
}

/** Linux only: regular files that a process of the group has open for writing. */
async function heldOpen({ group, inside, spec }: Suspect): Promise<string[]> {
  const files: string[] = [];
  for (const pid of (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name))) {
    try {
      const status = await readFile(`/proc/${pid}/stat`, "utf8");
      if (Number(status.slice(status.lastIndexOf(")") + 2).split(" ")[2]) !== group) continue;
      for (const fd of await readdir(`/proc/${pid}/fd`)) {
        const path = await readlink(`/proc/${pid}/fd/${fd}`);
        const flags = /^flags:\s*(\d+)/m.exec(await readFile(`/proc/${pid}/fdinfo/${fd}`, "utf8"))?.[1] ?? "0";
        const writing = (parseInt(flags, 8) & 3) !== 0;
        if (writing && isAbsolute(path) && !/^\/(dev|proc|sys)\//.test(path) && !within(path, inside)) files.push(path);
      }
    } catch {
      // The process or the descriptor is gone.
    }
  }
  // Deno's and npm's own indexes.
  const caches = [spec.env.DENO_DIR, spec.env.npm_config_cache].filter((dir) => dir !== undefined);
  return files.filter((path) => !caches.some((cache) => dirname(path) === cache));
}

async function isChanged(path: string, { since }: Suspect): Promise<boolean> {
  if (PROGRAM.test(path)) return false;
  const found = await stat(path).catch(() => null);
  return found !== null && found.isFile() && found.mtimeMs > since;
}

function within(path: string, dir: string): boolean {
  return path === dir || path.startsWith(dir + sep);
}
