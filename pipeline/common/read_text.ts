/**
 * Reads text files that a person, a pipeline or another program names: regular files up to a size, so that a named pipe
 * cannot block hone, nor a device or a huge file fill its memory.
 * @module
 */
import { Buffer } from "node:buffer";
import { constants } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { config, HoneError, reasonOf, sizeOf } from "../diagnostics/mod.ts";

/** Default limit: pipelines, prompts, catalogs and settings are far smaller. */
export const MAX_TEXT_BYTES = 32_000_000;

/** Why a file is not read: what it is, or its size. Other failures are those of the system (`ENOENT`, `EISDIR`, …). */
export class NotReadable extends Error {
  override name = "NotReadable";
  readonly code = "NOT_READABLE";
}

/** The kinds of file that are never read. */
export type FileKind = "folder" | "named pipe" | "socket" | "device" | "file of an unknown kind";

/** What `stat` returned, as far as the kind of a file goes. */
interface Kinds {
  isFile(): boolean;
  isDirectory(): boolean;
  isFIFO(): boolean;
  isSocket(): boolean;
  isCharacterDevice(): boolean;
  isBlockDevice(): boolean;
}

/** What a file is if it is no regular file; undefined for one. */
export function otherKind(file: Kinds): FileKind | undefined {
  if (file.isFile()) return undefined;
  if (file.isDirectory()) return "folder";
  if (file.isFIFO()) return "named pipe";
  if (file.isSocket()) return "socket";
  return file.isCharacterDevice() || file.isBlockDevice() ? "device" : "file of an unknown kind";
}

/** The text of a file. Throws NotReadable, or the system's error. */
export async function readText(path: string, max_bytes: number = MAX_TEXT_BYTES): Promise<string> {
  await using file = await openRegular(path);
  const { size } = await file.stat();
  if (size > max_bytes) throw tooLarge(size, max_bytes);
  // A file may grow, and some have no size: those of /proc.
  const parts: Uint8Array[] = [];
  let held = 0;
  for (;;) {
    const buffer = new Uint8Array(Math.min(Math.max(size - held, 0) + 4096, max_bytes - held + 1));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
    if (bytesRead === 0) break;
    parts.push(buffer.subarray(0, bytesRead));
    held += bytesRead;
    if (held > max_bytes) throw tooLarge(held, max_bytes);
  }
  return new TextDecoder("utf-8", { ignoreBOM: false }).decode(Buffer.concat(parts, held));
}

/** The text of a file; a HoneError says why it cannot be read. */
export async function textOf(path: string): Promise<string> {
  try {
    return await readText(path);
  } catch (error) {
    throw new HoneError(config.file_unreadable(path, reasonOf(error)), { cause: error });
  }
}

/** Opens a regular file for reading; throws NotReadable for anything else, without waiting for a writer. */
export async function openRegular(path: string): Promise<FileHandle> {
  mustBeRegular(await stat(path));
  const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    mustBeRegular(await file.stat());
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function mustBeRegular(file: Kinds): void {
  const kind = otherKind(file);
  if (kind === "folder") throw Object.assign(new Error("it is a folder"), { code: "EISDIR" });
  if (kind) throw new NotReadable(`it is a ${kind}: expected a regular file`);
}

function tooLarge(bytes: number, max_bytes: number): NotReadable {
  return new NotReadable(`it has ${sizeOf(bytes)}: expected at most ${sizeOf(max_bytes)}`);
}
