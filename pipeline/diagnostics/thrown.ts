/**
 * What any thrown value tells a person. A HoneError says it itself; an error of the operating system (a full disk, a
 * file where a folder is expected) names the path and the reason; anything else is a bug in hone, with the place where it
 * was thrown. Stacks are left to `--verbose` and to a run's log.
 * @module
 */
import { dirname, relative } from "node:path";
import { cacheDir } from "../common/cache_dir.ts";
import { cli } from "./cli_messages.ts";
import { type Diagnostic, HoneError, messageOf } from "./diagnostic.ts";

/** An error of a system call, as Node and Deno throw it. */
interface SystemError extends Error {
  code: string;
  syscall?: string;
  path?: string;
  dest?: string;
}

const REASONS: Record<string, string> = {
  EACCES: "permission denied",
  EADDRINUSE: "it is in use",
  EBUSY: "it is in use",
  EDQUOT: "the disk quota is exhausted",
  EEXIST: "it already exists, and is no folder",
  EFBIG: "the file would be too large",
  EINVAL: "the file system does not support this",
  EIO: "input/output error",
  EISDIR: "it is a folder, and a file is expected",
  ELOOP: "its symbolic links form a loop",
  EMFILE: "too many open files",
  ENAMETOOLONG: "the name is too long",
  ENFILE: "too many open files on this machine",
  ENOENT: "no such file or folder",
  ENOMEM: "out of memory",
  ENOSPC: "no space left on the disk",
  ENOTDIR: "a part of the path is a file, not a folder",
  ENOTEMPTY: "the folder is not empty",
  ENXIO: "no such device",
  EPERM: "operation not permitted",
  EPIPE: "the other end was closed",
  EROFS: "the file system is read-only",
  ESTALE: "the network file system has lost it",
  ETXTBSY: "the program is running",
  EXDEV: "the two paths are on different file systems",
};

const ACTIONS: Record<string, string> = {
  access: "read",
  copyfile: "copy",
  cp: "copy",
  ftruncate: "write",
  fsync: "write",
  mkdir: "create folder",
  lstat: "read",
  mkdtemp: "create a folder in",
  read: "read",
  readdir: "list",
  readlink: "read",
  realpath: "read",
  rename: "replace",
  rm: "delete",
  rmdir: "delete",
  scandir: "list",
  stat: "read",
  symlink: "create link",
  unlink: "delete",
  utime: "write",
  write: "write",
};

/** The diagnostics of a thrown value; `stack` adds the stack of a bug. */
export function diagnosticsOf(thrown: unknown, { stack = false } = {}): Diagnostic[] {
  if (thrown instanceof HoneError) return thrown.diagnostics;
  const error = thrown instanceof Error ? thrown : new Error(messageOf(thrown));
  const system = systemErrorIn(error);
  if (system) return [ofSystem(system)];
  return [cli.unexpected(stack ? error.stack ?? error.message : messageWithoutStack(error), placeOf(error))];
}

/** Why a file could not be read or written, without its path. */
export function reasonOf(error: unknown): string {
  const { code = "" } = (error ?? {}) as Partial<SystemError>;
  return REASONS[code] ?? messageWithoutStack(error instanceof Error ? error : new Error(messageOf(error)));
}

/** Where an error was thrown, from its stack. */
export function placeOf({ stack = "" }: Error): string | undefined {
  return /^\s+at (.*)$/m.exec(stack)?.[1];
}

/** The message of an error in which a library has included its own stack. */
export function messageWithoutStack({ message, name }: Error): string {
  const [said] = message.split(/\n\s*(?:Stack Trace|at .+:\d+:\d+)/);
  return said!.trim() || name;
}

function systemErrorIn(error: Error): SystemError | undefined {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const { code } = at as Partial<SystemError>;
    if (typeof code === "string" && Object.hasOwn(REASONS, code)) return at as SystemError;
  }
}

function ofSystem(error: SystemError): Diagnostic {
  // Deno's own errors have the path only in their message: "… (os error 2): open '/x'".
  const [, call, found] = /: (\w+) '(.+?)'/s.exec(error.message) ?? [];
  const temporary = error.syscall === "mkdtemp" && error.path !== undefined;
  const path = temporary ? dirname(error.path!) : error.path ?? found;
  // Without a path it is a stream: the command's own output.
  const action = ACTIONS[(error.syscall ?? call ?? "").toLowerCase()] ?? (path === undefined ? "write" : "open");
  return cli.system_error(action, path, REASONS[error.code]!, hintFor(error, path));
}

function hintFor({ code, syscall }: SystemError, path: string | undefined): string | undefined {
  if (code === "ENOSPC" || code === "EDQUOT") return "Free disk space and try again; `hone resume` continues a run.";
  if (code === "EMFILE") return "Raise the limit (`ulimit -n`), or lower train.concurrency.";
  if (syscall === "mkdtemp") return "Temporary files are kept there: set TMPDIR to a folder that you can write to.";
  if (path !== undefined && isBelow(path, cacheFolder())) {
    return "It belongs to hone's cache: set HONE_CACHE_DIR to a folder that you can write to.";
  }
}

function cacheFolder(): string | undefined {
  try {
    return cacheDir();
  } catch {
    return undefined;
  }
}

function isBelow(path: string, folder: string | undefined): boolean {
  if (folder === undefined) return false;
  const below = relative(folder, path);
  return below === "" || !(below.startsWith("..") || below.startsWith("/"));
}
