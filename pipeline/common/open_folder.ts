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
import { basename, dirname, isAbsolute, relative, resolve, sep } from "node:path";
import { setImmediate } from "node:timers/promises";
import { folders as say, HoneError, mcp } from "../diagnostics/mod.ts";

/** What an entry of a folder is; `other` is a pipe, a socket or a device. */
export type EntryKind = "file" | "folder" | "link" | "other";

/** An entry of a folder. */
export interface FolderEntry {
  name: string;
  kind: EntryKind;
}

const LINUX = Deno.build.os === "linux";
const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW = 0, O_DIRECTORY = 0, O_NONBLOCK = 0 } = fs.constants;
/** Opens what may not be read; Linux only. */
const O_PATH = 0o10000000;
const CHUNK_BYTES = 1 << 16;
const WRITE_TRIES = 5;
const STEPS = 64;
const CLEAR_ROUNDS = 20;

/** Folders that hone made, by path, each with what tells it from others. */
const made = new Map<string, string>();

/** A file that is open until it is disposed. */
export class OpenFile implements Disposable {
  readonly isRegular: boolean;
  readonly #mode: number;

  constructor(private readonly fd: number) {
    const { mode } = fs.fstatSync(fd);
    this.isRegular = (mode & fs.constants.S_IFMT) === fs.constants.S_IFREG;
    this.#mode = mode & 0o777;
  }

  get mode(): number {
    return this.#mode;
  }

  set mode(mode: number) {
    fs.fchmodSync(this.fd, mode);
  }

  /** Its content from here on. A chunk is valid until the next one is asked for. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    const buffer = Buffer.alloc(CHUNK_BYTES);
    for (;;) {
      const read = fs.readSync(this.fd, buffer, 0, CHUNK_BYTES, null);
      if (read === 0) return;
      yield buffer.subarray(0, read);
      await breathe();
    }
  }

  write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) done += fs.writeSync(this.fd, bytes, done);
  }

  [Symbol.dispose](): void {
    fs.closeSync(this.fd);
  }
}

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
  entries(): FolderEntry[] {
    this.#check();
    const found = [...Deno.readDirSync(this.#self())].map(({ name, isFile, isDirectory, isSymlink }): FolderEntry => ({
      name,
      kind: isSymlink ? "link" : isDirectory ? "folder" : isFile ? "file" : "other",
    }));
    return found.sort((a, b) => a.name < b.name ? -1 : 1);
  }

  /** Opens a folder in this one, made if `make` is set. Throws a HoneError if the entry is not a folder. */
  folder(name: string, make = false): OpenFolder {
    if (make) {
      try {
        this.#at(name, (at) => fs.mkdirSync(at));
      } catch (error) {
        if (!isOneOf(error, "EEXIST")) throw error;
      }
    }
    try {
      return this.#at(name, (at) => new OpenFolder(`${this.path}/${name}`, openedWith(at)));
    } catch (error) {
      if (isOneOf(error, "ELOOP", "ENOTDIR")) throw new HoneError(say.not_a_folder(`${this.path}/${name}`));
      throw error;
    }
  }

  /** Opens a file for reading; null if the entry is not, or no longer, a regular file. */
  file(name: string): OpenFile | null {
    let fd: number;
    try {
      fd = this.#at(name, (at) => fs.openSync(at, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    } catch (error) {
      if (isOneOf(error, "ELOOP", "ENOENT", "ENXIO", "EISDIR")) return null;
      throw error;
    }
    const file = new OpenFile(fd);
    if (file.isRegular) return file;
    file[Symbol.dispose]();
    return null;
  }

  /** Target of a symbolic link, as text. */
  linkTarget(name: string): string {
    return this.#at(name, Deno.readLinkSync);
  }

  /** Writes a new file in place of a file or link of this name: what another name of it shows stays as it is. */
  async write(name: string, content: string | OpenFile): Promise<void> {
    using file = new OpenFile(
      this.#create(name, (at) => fs.openSync(at, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o666)),
    );
    this.#check();
    if (typeof content === "string") return file.write(Buffer.from(content));
    for await (const chunk of content.chunks()) file.write(chunk);
    file.mode = content.mode;
  }

  /** Makes a symbolic link in place of a file or link of this name. */
  link(name: string, target: string): void {
    this.#create(name, (at) => Deno.symlinkSync(target, at));
  }

  /** Removes a file, a link or an empty folder; silent if there is none. */
  remove(name: string): void {
    try {
      this.#at(name, (at) => Deno.removeSync(at));
    } catch (error) {
      if (!isOneOf(error, "ENOENT")) throw error;
    }
  }

  /**
   * Removes everything in the folder, whatever its depth: folders in folders are moved up until all are empty, so that
   * neither the stack nor the number of open files limits it.
   */
  async clear(): Promise<void> {
    for (let round = 0; round < CLEAR_ROUNDS; round++) {
      const entries = this.entries();
      if (entries.length === 0) return;
      // A name that is not UTF-8 cannot be passed on as it is.
      if (round > 0 && entries.some(({ name }) => name.includes("\ufffd"))) await removeAll(this.#self());
      const folders: string[] = [];
      for (const { name, kind } of entries) {
        if (kind === "folder") folders.push(name);
        else this.#removeAny(name);
        await breathe();
      }
      for (let name = folders.pop(); name !== undefined; name = folders.pop()) {
        folders.push(...await this.#hoist(name));
      }
    }
    throw new HoneError(say.not_emptied(this.path));
  }

  /** Empties and removes a folder in this one, and returns the new names of its own folders, which move here. */
  async #hoist(name: string): Promise<string[]> {
    const moved: string[] = [];
    try {
      using inner = this.#cleared(name);
      for (const entry of inner.entries()) {
        if (entry.kind !== "folder") inner.#removeAny(entry.name);
        else {
          inner.#cleared(entry.name)[Symbol.dispose]();
          const fresh = `.hone-${crypto.randomUUID()}`;
          inner.#at(entry.name, (from) => this.#at(fresh, (to) => Deno.renameSync(from, to)));
          moved.push(fresh);
        }
        await breathe();
      }
      this.#removeAny(name);
    } catch (error) {
      if (!isMeanwhile(error)) throw error;
    }
    return moved;
  }

  #removeAny(name: string): void {
    try {
      this.remove(name);
    } catch (error) {
      if (!isMeanwhile(error)) throw error;
    }
  }

  /** Opens a folder in this one whose contents are to go; it may be without permissions. */
  #cleared(name: string): OpenFolder {
    const inner = this.folder(name);
    const { mode } = fs.fstatSync(inner.fd);
    if (LINUX && (mode & 0o700) !== 0o700) Deno.chmodSync(inner.#self(), 0o700);
    return inner;
  }

  #create<T>(name: string, create: (at: string) => T): T {
    for (let attempt = 1;; attempt++) {
      try {
        return this.#at(name, create);
      } catch (error) {
        if (!isOneOf(error, "EEXIST") || attempt === WRITE_TRIES) throw error;
        this.remove(name);
      }
    }
  }

  #self(): string {
    return LINUX ? `/proc/self/fd/${this.fd}/.` : this.path;
  }

  /** Calls `use` with a path that leads to an entry from the open folder; errors name the entry by its own path. */
  #at<T>(name: string, use: (at: string) => T): T {
    if (name === "" || name === "." || name === ".." || /[/\0]/.test(name)) throw new HoneError(say.bad_name(name));
    this.#check();
    const path = `${this.path}/${name}`;
    const at = LINUX ? `/proc/self/fd/${this.fd}/${name}` : path;
    try {
      return use(at);
    } catch (error) {
      if (error instanceof Error) error.message = error.message.replaceAll(at, path);
      throw error;
    }
  }

  #check(): void {
    if (LINUX || identityOf(fs.lstatSync(this.path, { bigint: true })) === this.#identity) return;
    throw new HoneError(say.replaced(this.path));
  }
}

/** Makes a folder, empty; what was at its path is removed. */
export async function makeFolder(path: string): Promise<void> {
  await Deno.mkdir(dirname(path), { recursive: true });
  await removeFolder(path);
  using outer = OpenFolder.open(dirname(path));
  using folder = outer.folder(basename(path), true);
  folder.remember();
}

/** Removes a folder with everything in it, or a link of that name alone; silent if there is none. */
export async function removeFolder(path: string): Promise<void> {
  for (const known of made.keys()) if (known === path || known.startsWith(path + sep)) made.delete(known);
  const name = basename(path);
  try {
    using outer = OpenFolder.open(dirname(path));
    if ((await Deno.lstat(path)).isDirectory) {
      using inner = outer.folder(name);
      await inner.clear();
    }
    outer.remove(name);
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

/** The time of its making tells a folder from a later one with the same inode; on macOS others can change that time. */
function identityOf({ dev, ino, birthtimeMs }: fs.BigIntStats): string {
  return [dev, ino, LINUX ? birthtimeMs : 0].join(":");
}

let steps = 0;

/** Calls of the system are short; many of them make room for others now and then. */
function breathe(): Promise<void> | undefined {
  return ++steps % STEPS === 0 ? setImmediate() : undefined;
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

/** True where a server that still runs changed what hone was working on: a second look shows what is there now. */
function isMeanwhile(error: unknown): boolean {
  return error instanceof HoneError || isOneOf(error, "ENOENT", "ENOTDIR", "EISDIR", "ENOTEMPTY", "EEXIST", "EBUSY");
}

function isOneOf(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && codes.includes((error as Error & { code?: string }).code ?? "");
}
