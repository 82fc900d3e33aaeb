import assert from "node:assert/strict";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { DuckDBInstance } from "@duckdb/node-api";
import { queryFile } from "./query_file.ts";

async function inFolder(work: (dir: string) => Promise<void>) {
  const dir = await Deno.makeTempDir();
  try {
    await work(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const ORDERS = "CREATE TABLE orders (id INTEGER, name TEXT, total REAL, raw BLOB);" +
  "INSERT INTO orders VALUES (1, 'Ada', 12.5, x'00ff'), (2, 'Bob', NULL, NULL);";

const ALL = {
  rows: [{ id: 1, name: "Ada", total: 12.5, raw: "00ff" }, { id: 2, name: "Bob", total: null, raw: null }],
};

Deno.test("queryFile() reads a SQLite database while its server holds it open, write-ahead log included", async () => {
  await inFolder(async (dir) => {
    await Deno.mkdir(join(dir, "data"));
    for (const mode of ["DELETE", "WAL"]) {
      const database = `data/${mode}.db`;
      using db = new DatabaseSync(join(dir, database));
      db.exec(`PRAGMA journal_mode = ${mode}; ${ORDERS}`);
      assert.deepEqual(await queryFile(dir, { database, query: "SELECT * FROM orders ORDER BY id" }), ALL);
      db.exec("DELETE FROM orders WHERE id = 2");
      const count = { database, query: "SELECT count(*) AS n FROM orders" };
      assert.deepEqual(await queryFile(dir, count), { rows: [{ n: 1 }] });
    }
  });
});

Deno.test("queryFile() reads a DuckDB database", async () => {
  await inFolder(async (dir) => {
    const instance = await DuckDBInstance.create(join(dir, "a.duckdb"));
    const connection = await instance.connect();
    await connection.run("CREATE TABLE t AS SELECT 1 AS n, DATE '2026-01-02' AS day, [1, 2] AS list");
    connection.closeSync();
    instance.closeSync();
    const query = (query: string) => queryFile(dir, { database: "a.duckdb", query });
    assert.deepEqual(await query("SELECT n, day::TEXT AS day FROM t"), { rows: [{ n: 1, day: "2026-01-02" }] });
    assert.deepEqual(await query("DELETE FROM t"), { unseen: "the query is not a statement that reads" });
    assert.deepEqual(await query("SELECT 1; SELECT 2"), { unseen: "the query is not a statement that reads" });
    const outside = await query("SELECT * FROM read_text('/etc/hostname')");
    assert.match(JSON.stringify(outside), /^\{"failed":"the query failed: Permission Error: .*disabled/);
    assert.deepEqual(await query("SELECT * FROM range(2000)"), {
      unseen: 'Cannot return the result of "SELECT * FROM range(2000)": it has more than 1000 rows',
    });
  });
});

Deno.test("queryFile() tells what the agent did not make from what cannot be seen", async () => {
  await inFolder(async (dir) => {
    using db = new DatabaseSync(join(dir, "a.db"));
    db.exec(ORDERS);
    await Deno.writeTextFile(join(dir, "notes.txt"), "not a database, but long enough");
    await Deno.writeTextFile(join(dir, "empty.db"), "");
    await symlink(join(dir, "a.db"), join(dir, "link.db"));
    const ask = (database: string, query: string) => queryFile(dir, { database, query });
    const count = "SELECT count(*) FROM orders";
    assert.deepEqual(await ask("b.db", count), { failed: 'there is no database "b.db"' });
    assert.deepEqual(await ask("x/b.db", count), { failed: 'there is no database "x/b.db"' });
    assert.deepEqual(await ask("link.db", count), { failed: '"link.db" is a symbolic link' });
    assert.deepEqual(await ask("notes.txt", count), { failed: '"notes.txt" is no SQLite or DuckDB database' });
    assert.deepEqual(await ask("empty.db", count), { failed: "the query failed: no such table: orders" });
    assert.deepEqual(await ask("a.db", "SELECT cost FROM orders"), {
      failed: "the query failed: no such column: cost",
    });
    assert.deepEqual(await ask("a.db", "SELEKT 1"), {
      unseen: 'the query cannot be read: near "SELEKT": syntax error',
    });
    for (const query of ["DELETE FROM orders", "PRAGMA journal_mode = WAL", "CREATE TABLE x (a)"]) {
      assert.deepEqual(await ask("a.db", query), { unseen: "the query is not a statement that reads" }, query);
    }
    const outside = await ask("../a.db", count);
    assert.match(JSON.stringify(outside), /^\{"failed":"/);
  });
});

Deno.test("queryFile() stops a query that does not end or whose result is too large, and no file can be reached", async () => {
  await inFolder(async (dir) => {
    using db = new DatabaseSync(join(dir, "a.db"));
    db.exec(ORDERS);
    const ask = (query: string) => queryFile(dir, { database: "a.db", query });
    const numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)";
    assert.deepEqual(await ask(`${numbers} SELECT count(*) FROM n`), { unseen: "the query takes longer than 2 s" });
    assert.deepEqual(await ask(`${numbers} SELECT x FROM n`), { unseen: "the query has more than 1000 rows" });
    assert.deepEqual(await ask("SELECT hex(randomblob(200000)) AS x"), {
      unseen: "the query's result has more than 100 kB",
    });
    assert.deepEqual(await ask("SELECT randomblob(1000000000) AS x"), {
      failed: "the query failed: string or blob too big",
    });
    assert.match(JSON.stringify(await ask("ATTACH '/etc/passwd' AS p")), /unseen/);
    assert.match(JSON.stringify(await ask("SELECT load_extension('/tmp/x')")), /"failed":"the query failed: /);
    // Nothing of it remains for the next one.
    assert.deepEqual(await ask("SELECT count(*) AS n FROM orders"), { rows: [{ n: 2 }] });
  });
});
