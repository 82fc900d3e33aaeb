/**
 * Folders that servers write to, such as a rollout's own. Everything below one is reached from the open folder and not
 * by its path: a symbolic link is never followed, not even one that a running server puts there between two steps. A
 * folder that hone made is known again by its inode; if something else is at its path, opening it throws.
 *
 * On Linux, names are resolved by the kernel from the open folder (`/proc/self/fd`). Elsewhere they are paths, and the
 * folder is checked before and after each use: a swap in between is noticed, but not prevented.
 * @module
 */
import { Buffer } from "node:buffer";
import fs from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { isAbsolute, relative, resolve, sep } from "node:path";
import { folders as say, HoneError, mcp } from "../diagnostics/mod.ts";

/** What an entry of a folder is; `other` is a pipe, a socket or a device. */
export type EntryKind = "file" | "folder" | "link" | "other";

/** An entry of a folder. */
export interface FolderEntry {
  name: string;
  kind: EntryKind;
}

const LINUX = Deno.build.os === "linux";
const { O_RDONLY, O_NOFOLLOW = 0, O_DIRECTORY = 0, O_NONBLOCK = 0 } = fs.constants;
/** Opens what may not be read; Linux only. */
const O_PATH = 0o10000000;
const CHUNK_BYTES = 1 << 16;
const WRITE_TRIES = 5;
const CLEAR_ROUNDS = 20;

/** Folders that hone made, by path, each with what tells it from others. */
const made = new Map<string, string>();

/** A folder that is open until it is disposed. Methods take names of entries, never paths. */
export class OpenFolder implements Disposable {
  readonly #identity: string;

  private constructor(readonly path: string, private readonly fd: number) {
    this.#identity = identityOf(fs.fstatSync(fd, { bigint: true }));
  }

  /** Opens a folder. Throws a HoneError if hone made one at this path and it is no longer there. */
  static open(path: string): OpenFolder {
    const known = made.get(path);
    let folder: OpenFolder;
    try {
      folder = new OpenFolder(path, fs.openSync(path, O_RDONLY | O_DIRECTORY | (known ? O_NOFOLLOW : 0)));
    } catch (error) {
      if (known && isOneOf(error, "ELOOP", "ENOTDIR", "ENOENT")) throw new HoneError(say.replaced(path));
      throw error;
    }
    if (!known || known === folder.#identity) return folder;
    folder[Symbol.dispose]();
    throw new HoneError(say.replaced(path));
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.fd);
  }

  /** Remembers the folder as one that hone made. */
  remember(): void {
    made.set(this.path, this.#identity);
  }

  /** Its entries, in the order of their names. */
  async entries(): Promise<FolderEntry[]> {
    this.#check();
    const found: FolderEntry[] = [];
    for await (const { name, isFile, isDirectory, isSymlink } of Deno.readDir(this.#self())) {
      found.push({ name, kind: isSymlink ? "link" : isDirectory ? "folder" : isFile ? "file" : "other" });
    }
    return found.sort((a, b) => a.name < b.name ? -1 : 1);
  }

  /** Opens a folder in this one, made if `make` is set. Throws a HoneError if the entry is not a folder. */
  folder(name: string, make = false): OpenFolder {
    const at = this.#at(name);
    if (make) {
      try {
        fs.mkdirSync(at);
      } catch (error) {
        if (!isOneOf(error, "EEXIST")) throw error;
      }
    }
    try {
      return new OpenFolder(`${this.path}/${name}`, openedWith(at));
    } catch (error) {
      if (isOneOf(error, "ELOOP", "ENOTDIR")) throw new HoneError(say.not_a_folder(`${this.path}/${name}`));
      throw error;
    }
  }

  /** Opens a file for reading; null if the entry is not, or no longer, a regular file. */
  async file(name: string): Promise<FileHandle | null> {
    let handle: FileHandle;
    try {
      handle = await open(this.#at(name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    } catch (error) {
      if (isOneOf(error, "ELOOP", "ENOENT", "ENXIO", "EISDIR")) return null;
      throw error;
    }
    if ((await handle.stat()).isFile()) return handle;
    await handle.close();
    return null;
  }

  /** Target of a symbolic link, as text. */
  linkTarget(name: string): string {
    return Deno.readLinkSync(this.#at(name));
  }

  /** Writes a new file in place of a file or link of this name: what another name of it shows stays as it is. */
  async write(name: string, content: string | FileHandle, mode = 0o666): Promise<void> {
    using file = await this.#create(name, (at) => Deno.open(at, { write: true, createNew: true, mode }));
    this.#check();
    for await (const chunk of typeof content === "string" ? [Buffer.from(content)] : chunksOf(content)) {
      for (let done = 0; done < chunk.length;) done += await file.write(chunk.subarray(done));
    }
  }

  /** Makes a symbolic link in place of a file or link of this name. */
  async link(name: string, target: string): Promise<void> {
    await this.#create(name, (at) => Deno.symlink(target, at));
  }

  /** Removes a file, a link or an empty folder; silent if there is none. */
  async remove(name: string): Promise<void> {
    await Deno.remove(this.#at(name)).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }

  /**
   * Removes everything in the folder, whatever its depth: folders in folders are moved up until all are empty, so that
   * neither the stack nor the number of open files limits it.
   */
  async clear(): Promise<void> {
    for (let round = 0; round < CLEAR_ROUNDS; round++) {
      const entries = await this.entries();
      if (entries.length === 0) return;
      // A name that is not UTF-8 cannot be passed on as it is.
      if (round > 0 && entries.some(({ name }) => name.includes("\ufffd"))) await removeAll(this.#self());
      const folders: string[] = [];
      for (const { name, kind } of entries) {
        if (kind === "folder") folders.push(name);
        else await this.remove(name);
      }
      for (let name = folders.pop(); name !== undefined; name = folders.pop()) folders.push(...await this.#hoist(name));
    }
    throw new HoneError(say.not_emptied(this.path));
  }

  /** Empties and removes a folder in this one, and returns the new names of its own folders, which move here. */
  async #hoist(name: string): Promise<string[]> {
    const moved: string[] = [];
    try {
      using inner = this.#cleared(name);
      for (const entry of await inner.entries()) {
        if (entry.kind !== "folder") await inner.remove(entry.name);
        else {
          inner.#cleared(entry.name)[Symbol.dispose]();
          const fresh = `.hone-${crypto.randomUUID()}`;
          await Deno.rename(inner.#at(entry.name), this.#at(fresh));
          moved.push(fresh);
        }
      }
      await this.remove(name);
    } catch (error) {
      // A server that still runs changed it meanwhile: the next round sees what is there now.
      if (!(error instanceof HoneError) && !isOneOf(error, "ENOENT", "ENOTDIR", "ENOTEMPTY", "EEXIST")) throw error;
    }
    return moved;
  }

  /** Opens a folder in this one whose contents are to go; it may be without permissions. */
  #cleared(name: string): OpenFolder {
    const inner = this.folder(name);
    const { mode } = fs.fstatSync(inner.fd);
    if (LINUX && (mode & 0o700) !== 0o700) Deno.chmodSync(inner.#self(), 0o700);
    return inner;
  }

  async #create<T>(name: string, create: (at: string) => Promise<T>): Promise<T> {
    for (let attempt = 1;; attempt++) {
      await this.remove(name);
      try {
        return await create(this.#at(name));
      } catch (error) {
        if (!(error instanceof Deno.errors.AlreadyExists) || attempt === WRITE_TRIES) throw error;
      }
    }
  }

  #self(): string {
    return LINUX ? `/proc/self/fd/${this.fd}/.` : this.path;
  }

  #at(name: string): string {
    if (name === "" || name === "." || name === ".." || /[/\0]/.test(name)) throw new HoneError(say.bad_name(name));
    this.#check();
    return LINUX ? `/proc/self/fd/${this.fd}/${name}` : `${this.path}/${name}`;
  }

  #check(): void {
    if (LINUX || identityOf(fs.lstatSync(this.path, { bigint: true })) === this.#identity) return;
    throw new HoneError(say.replaced(this.path));
  }
}

/** Makes a folder, empty; what was at its path is removed. */
export async function makeFolder(path: string): Promise<void> {
  await removeFolder(path);
  await Deno.mkdir(path, { recursive: true });
  using folder = OpenFolder.open(path);
  folder.remember();
}

/** Removes a folder with everything in it, or a link of that name alone; silent if there is none. */
export async function removeFolder(path: string): Promise<void> {
  for (const known of made.keys()) if (known === path || known.startsWith(path + sep)) made.delete(known);
  const at = path.lastIndexOf(sep);
  const [parent, name] = [path.slice(0, at) || sep, path.slice(at + 1)];
  try {
    using outer = OpenFolder.open(parent);
    if ((await Deno.lstat(path)).isDirectory) {
      using inner = outer.folder(name);
      await inner.clear();
    }
    await outer.remove(name);
  } catch (error) {
    if (!isOneOf(error, "ENOENT")) throw error;
  }
}

/** Empties a folder but keeps it: a running server may have it open. */
export async function emptyFolder(path: string): Promise<void> {
  using folder = OpenFolder.open(path);
  await folder.clear();
}

/** The names that lead to a path below a folder. Throws a HoneError where it leaves the folder. */
export function namesBelow(root: string, path: string): string[] {
  const below = relative(root, resolve(root, path));
  if (below === ".." || below.startsWith(`..${sep}`) || isAbsolute(below)) {
    throw new HoneError(mcp.outside_workdir(path));
  }
  return below === "" ? [] : below.split(sep);
}

/** Calls `use` with the folder that the names lead to, from `root` on; folders that are missing are made. */
export async function inFolder<T>(
  root: OpenFolder,
  names: readonly string[],
  use: (folder: OpenFolder) => Promise<T>,
  make = false,
): Promise<T> {
  if (names.length === 0) return await use(root);
  using next = root.folder(names[0]!, make);
  return await inFolder(next, names.slice(1), use, make);
}

/** Opens a folder in a folder that is open; one that its owner may not read is made readable. */
function openedWith(at: string): number {
  try {
    return fs.openSync(at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  } catch (error) {
    if (!LINUX || !isOneOf(error, "EACCES")) throw error;
  }
  const fd = fs.openSync(at, O_PATH | O_DIRECTORY | O_NOFOLLOW);
  try {
    Deno.chmodSync(`/proc/self/fd/${fd}`, 0o700);
    return fs.openSync(`/proc/self/fd/${fd}/.`, O_RDONLY | O_DIRECTORY);
  } finally {
    fs.closeSync(fd);
  }
}

async function* chunksOf(handle: FileHandle): AsyncGenerator<Uint8Array> {
  const buffer = Buffer.alloc(CHUNK_BYTES);
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, null);
    if (bytesRead === 0) return;
    yield buffer.subarray(0, bytesRead);
  }
}

/** The time of its making tells a folder from a later one with the same inode; on macOS others can change that time. */
function identityOf({ dev, ino, birthtimeMs }: fs.BigIntStats): string {
  return [dev, ino, LINUX ? birthtimeMs : 0].join(":");
}

async function removeAll(cwd: string): Promise<void> {
  const path = cwd.replace("/proc/self/", `/proc/${Deno.pid}/`);
  await new Deno.Command("sh", {
    args: ["-c", "rm -rf -- ./* ./.[!.]* ./..?*"],
    cwd: path,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).output();
}

function isOneOf(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && codes.includes((error as Error & { code?: string }).code ?? "");
}
