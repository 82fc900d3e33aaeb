/**
 * Read-only queries of SQLite and DuckDB files in a folder that servers write to. A query sees a copy of the file: it
 * changes nothing, follows no link, reaches no other file, loads no extension, and is limited in time and in the size of
 * its result. What a server has written to a write-ahead log beside the file is seen too.
 * @module
 */
import { Buffer } from "node:buffer";
import { inFolder, namesBelow, type OpenFile, OpenFolder } from "../common/open_folder.ts";
import { HoneError, messageOf, sizeOf } from "../diagnostics/mod.ts";
import { type DatabaseBytes, type Engine, LIMITS, type QueryAnswer } from "./query_answer.ts";

/** A query of a database file. */
export interface FileQuery {
  /** Path of the file, below the folder. */
  database: string;
  /** One statement that only reads. */
  query: string;
}

/** Queries a database file below `root`. Never throws for what a server or an agent has put there. */
export async function queryFile(root: string, { database, query }: FileQuery): Promise<QueryAnswer> {
  const shown = JSON.stringify(database);
  try {
    const names = namesBelow(root, database);
    using folder = OpenFolder.open(root);
    const files = await inFolder(folder, names.slice(0, -1), (inner) => filesOf(inner, names.at(-1) ?? ""));
    if (typeof files === "string") return { failed: `${shown} is ${files}` };
    const engine = await engineOf(files.get("")!);
    return engine ? await engine(files, query) : { failed: `${shown} is no SQLite or DuckDB database` };
  } catch (error) {
    if (error instanceof TooLarge) return { unseen: `${shown} ${error.message}` };
    if (isMissing(error)) return { failed: `there is no database ${shown}` };
    if (error instanceof HoneError) return { failed: messageOf(error) };
    throw error;
  }
}

class TooLarge extends Error {}

/** Ends of names of files that belong to a database. */
const BESIDE = ["-wal", "-journal", ".wal"];

/** The database and what belongs to it; or what the entry is instead of a file. */
async function filesOf(folder: OpenFolder, name: string): Promise<DatabaseBytes | string> {
  const kinds = new Map(folder.entries().map((entry) => [entry.name, entry.kind]));
  const kind = kinds.get(name);
  if (kind === undefined) throw Object.assign(new Error("no such file"), { code: "ENOENT" });
  if (kind !== "file") return { folder: "a folder", link: "a symbolic link", other: "a pipe, socket or device" }[kind];
  const found: DatabaseBytes = new Map();
  let left = LIMITS.file_bytes;
  for (const end of ["", ...BESIDE]) {
    using file = kinds.get(name + end) === "file" ? folder.file(name + end) : null;
    if (!file) continue;
    const bytes = await bytesOf(file, left);
    left -= bytes.length;
    found.set(end, bytes);
  }
  if (!found.has("")) throw Object.assign(new Error("no such file"), { code: "ENOENT" });
  return found;
}

async function bytesOf(file: OpenFile, most: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let held = 0;
  for await (const chunk of file.chunks()) {
    held += chunk.length;
    if (held > most) throw new TooLarge(`has more than ${sizeOf(LIMITS.file_bytes)}`);
    parts.push(Uint8Array.from(chunk));
  }
  return new Uint8Array(Buffer.concat(parts, held));
}

/** What reads a database, by the first bytes of its file; an empty file is an empty SQLite database. */
async function engineOf(bytes: Uint8Array): Promise<Engine | undefined> {
  const start = Buffer.from(bytes.subarray(0, 16)).toString("latin1");
  if (bytes.length === 0 || start === "SQLite format 3\0") return (await import("./sqlite_query.ts")).querySqlite;
  if (start.slice(8, 12) === "DUCK") return (await import("./duckdb_query.ts")).queryDuckdb;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && ["ENOENT", "ENOTDIR"].includes((error as Error & { code?: string }).code ?? "");
}
