/**
 * The folders of one slot: `work` is the rollout's own (`${workdir}`), `home` and `tmp` are its servers'. Paths stay
 * equal in length, because tool results repeat them to the model.
 * @module
 */
import { dirname, resolve, sep } from "node:path";
import { HoneError, mcp } from "../../diagnostics/mod.ts";
import type { Scenario } from "../../events.ts";

/** Absolute paths of a slot. */
export interface Folders {
  root: string;
  work: string;
  home: string;
  tmp: string;
}

/** The folders of a slot by name; nothing is made. */
export function foldersAt(root: string): Folders {
  return { root, work: `${root}/work`, home: `${root}/home`, tmp: `${root}/tmp` };
}

/** Creates the folders, empty, deleting previous contents. */
export async function makeFolders({ root, work, home, tmp }: Folders): Promise<void> {
  await removeFolders(root);
  await Promise.all([work, home, tmp].map((dir) => Deno.mkdir(dir, { recursive: true })));
}

/** Removes a slot's folders; silent where there are none. */
export async function removeFolders(root: string): Promise<void> {
  try {
    await Deno.remove(root, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Empties a folder but keeps it: a running server may have it open. */
export async function emptyFolder(dir: string): Promise<void> {
  for await (const entry of Deno.readDir(dir)) await Deno.remove(`${dir}/${entry.name}`, { recursive: true });
}

/** Copies a folder's content, links as links. */
export async function copyInto(from: string, to: string): Promise<void> {
  for await (const { name, isDirectory, isSymlink } of Deno.readDir(from)) {
    const [source, target] = [`${from}/${name}`, `${to}/${name}`];
    if (isSymlink) await Deno.symlink(await Deno.readLink(source), target);
    else if (isDirectory) {
      await Deno.mkdir(target, { recursive: true });
      await copyInto(source, target);
    } else await Deno.copyFile(source, target);
  }
}

/** Writes a scenario's setup folders and files below `work`. Throws where a path leaves it. */
export async function writeSetup(work: string, setup: NonNullable<Scenario["setup"]>): Promise<void> {
  for (const dir of setup.directories ?? []) await Deno.mkdir(below(work, dir), { recursive: true });
  for (const [path, content] of Object.entries(setup.files ?? {})) {
    const target = below(work, path);
    await Deno.mkdir(dirname(target), { recursive: true });
    await Deno.writeTextFile(target, content);
  }
}

function below(work: string, path: string): string {
  const target = resolve(work, path);
  if (target !== work && !target.startsWith(work + sep)) throw new HoneError(mcp.outside_workdir(path));
  return target;
}
