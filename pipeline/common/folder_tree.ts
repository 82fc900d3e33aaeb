/**
 * What a folder that servers write to holds: text of small files, hashes of others, folders, and symbolic links and
 * special files as what they are. Nothing outside of the folder is read, and no pipe or device is opened.
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { folders as say, HoneError } from "../diagnostics/mod.ts";
import { inFolder, type OpenFile, OpenFolder } from "./open_folder.ts";

/** A file's text, the hash of one that is large or not text, a folder, a link with its target, or a pipe or device. */
export type TreeEntry =
  | string
  | { sha256: string; bytes: number }
  | { directory: true }
  | { link: string }
  | { special: true };

/** Entries by path, without a prototype: a file may be called `constructor` or `__proto__`. */
export type Tree = { [path: string]: TreeEntry };

/** Limits of `readTree`. */
export interface TreeLimits {
  /** Maximum number of entries. */
  max_files: number;
  /** Larger files are represented by their hash. */
  max_file_bytes: number;
}

const MAX_DEPTH = 64;
const MAX_TOTAL_BYTES = 2 ** 30;

/** A tree that names of any kind can be keys of, with the entries of `from`. */
export function treeOf(from: Tree = {}): Tree {
  return Object.assign(Object.create(null), from);
}

/**
 * Reads a folder, breadth first; `truncated` if it has more than `max_files` entries. Throws a HoneError if the folder
 * was replaced, nests too deep, or is too large to hash.
 */
export async function readTree(path: string, limits: TreeLimits): Promise<{ tree: Tree; truncated: boolean }> {
  const tree = treeOf();
  const budget = { path, max_file_bytes: limits.max_file_bytes, left: MAX_TOTAL_BYTES };
  using root = OpenFolder.open(path);
  const open: string[][] = [[]];
  let count = 0;
  for (let names = open.shift(); names; names = open.shift()) {
    const at = names;
    const all = await ifThere(() =>
      inFolder(root, at, async (folder) => {
        for (const { name, kind } of folder.entries()) {
          if (++count > limits.max_files) return false;
          const inner = [...at, name];
          if (kind === "folder") open.push(inner);
          const entry = await ifThere(() => entryOf(folder, name, kind, budget));
          if (entry !== undefined) tree[inner.join("/")] = entry;
        }
        return true;
      })
    );
    if (all === false) return { tree, truncated: true };
    if (open.length > 0 && open[0]!.length > MAX_DEPTH) throw new HoneError(say.too_deep(path, MAX_DEPTH));
  }
  return { tree, truncated: false };
}

interface Budget {
  path: string;
  max_file_bytes: number;
  left: number;
}

async function entryOf(folder: OpenFolder, name: string, kind: string, budget: Budget): Promise<TreeEntry> {
  if (kind === "folder") return { directory: true };
  if (kind === "link") return { link: folder.linkTarget(name) };
  using file = kind === "file" ? folder.file(name) : null;
  return file ? await contentOf(file, budget) : { special: true };
}

/** The file's text, or its hash, read in chunks: its size may be anything. */
async function contentOf(file: OpenFile, budget: Budget): Promise<TreeEntry> {
  const hash = createHash("sha256");
  const kept: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of file.chunks()) {
    hash.update(chunk);
    bytes += chunk.length;
    if ((budget.left -= chunk.length) < 0) throw new HoneError(say.too_large(budget.path, "1 GiB"));
    if (bytes <= budget.max_file_bytes) kept.push(Buffer.from(chunk));
  }
  if (bytes <= budget.max_file_bytes) {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.concat(kept));
    } catch {
      // Not text: compared by its hash.
    }
  }
  return { sha256: hash.digest("hex"), bytes };
}

/** Undefined for what a server removed or replaced while it was read, and for names that are not UTF-8. */
async function ifThere<T>(look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === "ENOENT" || code === "EINVAL" || code === "NOT_A_FOLDER") return undefined;
    throw error;
  }
}
