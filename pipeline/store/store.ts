/**
 * One DuckDB file per run. `append` queues an envelope's rows and resolves at the group commit, at most 50 ms later;
 * acknowledged records survive a kill. Reads go through the writing process, because a second process cannot open the
 * file while it is being written.
 * @module
 */
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { type DuckDBConnection, DuckDBInstance, StatementType } from "@duckdb/node-api";
import { control, HoneError, messageOf, store as messages } from "../diagnostics/mod.ts";
import type { Envelope } from "../events.ts";
import { appendRows } from "./append.ts";
import { factsOf, type OpenFile, prepared } from "./prepare.ts";
import { limitedRows, type QueryLimits, type Row, rowsOf } from "./read_rows.ts";
import { RowWriter } from "./rows.ts";
import type { Cell, TableName } from "./tables.ts";
import { renamedIn } from "./upgrade.ts";

export type { QueryLimits, Row } from "./read_rows.ts";

/**
 * Files that this process has open, with the number of readers, or -1 for a writer: DuckDB's own lock only excludes
 * other processes.
 */
const OPEN = new Map<string, number>();

/** Maximum milliseconds until the group commit of a record. */
const COMMIT_MS = 15;

/** Maximum milliseconds to wait for another process to release the file. */
const BUSY_MS = 3000;

const READING = new Set([StatementType.SELECT, StatementType.EXPLAIN, StatementType.PRAGMA]);

interface Batch {
  rows: Map<TableName, Cell[][]>;
  done: Promise<void>;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** Options for opening a store. `create` fails if the file exists; `resume` and `read` fail if it does not. */
export interface StoreOptions {
  /** Id of a new run. One that has started keeps the id in its file, wherever the file is now. */
  run_id: string;
  mode: "create" | "resume" | "read";
}

/** The store of one run. */
export class Store implements AsyncDisposable {
  readonly run_id: string;
  /** Sequence number of the next event. */
  readonly next_seq: number;
  #path: string;
  #instance: DuckDBInstance;
  #writer: DuckDBConnection;
  #reader: DuckDBConnection;
  #rows: RowWriter;
  /** See `OpenFile`. */
  #views: string;
  #batch: Batch | null = null;
  #committing: Promise<void> = Promise.resolve();
  #failure: Error | null = null;
  #reopening: Promise<void> | null = null;
  #mode: StoreOptions["mode"];

  private constructor(path: string, mode: StoreOptions["mode"], file: OpenFile) {
    this.#path = path;
    this.#mode = mode;
    this.#views = file.views;
    this.#instance = file.instance;
    [this.#writer, this.#reader] = file.connections;
    this.run_id = file.run_id;
    this.next_seq = file.next_seq;
    this.#rows = new RowWriter(file.supervised);
  }

  /** Opens the file. Throws a HoneError if it is in use, of a newer version of hone, or not a run's database. */
  static async open(path: string, { run_id, mode }: StoreOptions): Promise<Store> {
    const there = existsSync(path);
    if (mode === "create" && there) throw new HoneError(messages.exists(path));
    if (mode !== "create" && !there) throw new HoneError(messages.missing(path));
    take(path, mode);
    let instance: DuckDBInstance;
    try {
      instance = await opened(path, mode);
    } catch (error) {
      giveBack(path);
      throw error;
    }
    const connections: OpenFile["connections"] = [await instance.connect(), await instance.connect()];
    try {
      const views = await prepared(connections, path, mode);
      return new Store(path, mode, { instance, connections, views, ...await factsOf(connections[0], run_id) });
    } catch (error) {
      for (const connection of connections) connection.closeSync();
      instance.closeSync();
      giveBack(path);
      throw error;
    }
  }

  /** Queues an envelope; resolves when its rows are on disk. */
  append(envelope: Envelope): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    // Rows are built first: data that cannot be serialized as JSON throws here, without partial effects.
    const made: [TableName, Cell[]][] = [];
    this.#rows.write(envelope, (table, row) => made.push([table, row]));
    const batch = this.#batch ??= this.#open();
    for (const [table, row] of made) {
      const rows = batch.rows.get(table);
      if (rows) rows.push(row);
      else batch.rows.set(table, [row]);
    }
    return batch.done;
  }

  /** Resolves when everything appended so far is on disk. */
  async flush(): Promise<void> {
    const pending = this.#batch?.done ?? this.#committing;
    if (this.#batch) this.#commit();
    await pending;
    if (this.#failure) throw this.#failure;
  }

  /** Runs SQL and returns rows as plain objects; includes everything appended before. */
  async query(sql: string, params: readonly unknown[] = []): Promise<Row[]> {
    await this.flush();
    return await this.#healing(() => rowsOf(this.#reader, sql, params));
  }

  /**
   * `query` for users: one read-only statement, within limits. Throws a HoneError otherwise, and the signal's reason
   * once that is aborted.
   */
  async read(sql: string, limits: QueryLimits = {}, signal?: AbortSignal): Promise<Row[]> {
    await this.flush();
    if (sql.trim() === "") throw new HoneError(control.not_a_select(sql));
    try {
      return await this.#healing(async () => {
        const extracted = await this.#reader.extractStatements(sql);
        if (extracted.count !== 1) throw new HoneError(control.not_a_select(sql));
        const statement = await extracted.prepare(0);
        if (!READING.has(statement.statementType)) throw new HoneError(control.not_a_select(sql));
        return await this.#readOnly(sql, limits, signal);
      });
    } catch (error) {
      signal?.throwIfAborted();
      const [reason] = messageOf(error).split("\n\nStack Trace");
      if (error instanceof HoneError) throw error;
      throw new HoneError(control.query_failed(sql, reason!, renamedIn(reason!)), { cause: error });
    }
  }

  /**
   * Does `work`. After an INTERNAL error (for example of a user's query), DuckDB rejects all further statements; the
   * file is then reopened and `work` done once more, so that a query cannot fail the run.
   */
  async #healing<T>(work: () => Promise<T>): Promise<T> {
    const instance = this.#instance;
    try {
      return await work();
    } catch (error) {
      if (!/database has been invalidated/.test(messageOf(error))) throw error;
      await (this.#reopening ??= this.#reopen(instance).finally(() => this.#reopening = null));
      return await work();
    }
  }

  async #reopen(broken: DuckDBInstance): Promise<void> {
    if (this.#instance !== broken) return;
    this.#writer.closeSync();
    this.#reader.closeSync();
    broken.closeSync();
    this.#instance = await opened(this.#path, this.#mode);
    this.#writer = await this.#connect();
    this.#reader = await this.#connect();
  }

  async #connect(): Promise<DuckDBConnection> {
    const connection = await this.#instance.connect();
    if (this.#views) await connection.run(this.#views);
    return connection;
  }

  /** Runs a statement in a read-only transaction: `EXPLAIN ANALYZE DELETE` is an EXPLAIN, but deletes. */
  async #readOnly(sql: string, limits: QueryLimits, signal?: AbortSignal): Promise<Row[]> {
    const connection = await this.#connect();
    try {
      await connection.run("BEGIN TRANSACTION READ ONLY");
      return await limitedRows(connection, sql, limits, signal);
    } finally {
      connection.closeSync();
    }
  }

  /** Commits pending records and closes the file. A failed write has already rejected the promises awaiting it. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.flush();
    } catch (error) {
      if (error !== this.#failure) throw error;
    } finally {
      this.#writer.closeSync();
      this.#reader.closeSync();
      this.#instance.closeSync();
      giveBack(this.#path);
    }
  }

  #open(): Batch {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => {});
    setTimeout(() => this.#commit(), COMMIT_MS);
    return { rows: new Map(), done: promise, resolve, reject };
  }

  #commit() {
    const batch = this.#batch;
    if (!batch) return;
    this.#batch = null;
    this.#committing = this.#committing.then(() => this.#write(batch)).catch(() => {});
  }

  async #write(batch: Batch) {
    try {
      if (this.#failure) throw this.#failure;
      await this.#healing(async () => {
        await this.#writer.run("BEGIN");
        for (const [table, rows] of batch.rows) await appendRows(this.#writer, table, rows);
        await this.#writer.run("COMMIT");
      });
      batch.resolve();
    } catch (error) {
      this.#failure = error instanceof HoneError
        ? error
        : new HoneError(messages.write_failed(this.#path, messageOf(error)), { cause: error });
      batch.reject(this.#failure);
      await this.#writer.run("ROLLBACK").catch(() => {});
    }
  }
}

function take(path: string, mode: StoreOptions["mode"]) {
  const readers = OPEN.get(path) ?? 0;
  if (readers < 0 || (mode !== "read" && readers > 0)) throw new HoneError(messages.busy(path));
  OPEN.set(path, mode === "read" ? readers + 1 : -1);
}

function giveBack(path: string) {
  const readers = OPEN.get(path) ?? 0;
  if (readers > 1) OPEN.set(path, readers - 1);
  else OPEN.delete(path);
}

/** Opens the file; waits for another process that has it open briefly for a query. */
async function opened(path: string, mode: StoreOptions["mode"], until = Date.now() + BUSY_MS): Promise<DuckDBInstance> {
  try {
    // Queries can access only this file, nothing else on the machine.
    const options = { enable_external_access: "false" };
    return await DuckDBInstance.create(path, mode === "read" ? { ...options, access_mode: "READ_ONLY" } : options);
  } catch (error) {
    const reason = messageOf(error);
    if (/lock/i.test(reason) && Date.now() < until) {
      await sleep(50);
      return await opened(path, mode, until);
    }
    if (/lock/i.test(reason)) throw new HoneError(messages.busy(path), { cause: error });
    throw new HoneError(messages.cannot_open(path, reason), { cause: error });
  }
}
