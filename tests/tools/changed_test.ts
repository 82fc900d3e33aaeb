/** A server whose tools are not what they were: resume refuses, evaluation says so, each with every difference. @module */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { scriptedEndpoint } from "../fixtures/scripted_endpoint.ts";
import { openRun } from "../../pipeline/store/live_run.ts";
import evaluate from "../../runners/verbs/evaluate.ts";
import { runVerb } from "../fixtures/small_run.ts";
import resume from "../../runners/verbs/resume.ts";
import run from "../../runners/verbs/run.ts";
import { folder } from "../runs/hone_process.ts";
import { changingServer, writePipeline, writeTools } from "./changing_runs.ts";

const tool = (name: string, type: string, required: string[] = []) => ({
  name,
  description: `Does ${name}.`,
  inputSchema: { type: "object", properties: { text: { type } }, required },
});

const CHANGES = [
  "server it is version 2.0.0, was 1.0.0",
  "tool it/drop is gone",
  'tool it/say: argument text: type is "number", was "string"',
  "tool it/say: argument text is now required",
  "tool it/sing is new",
];

/** Takes the end of a run out of its records: as if it had been killed just before. */
async function withoutItsEnd(run_dir: string) {
  const instance = await DuckDBInstance.create(join(run_dir, "run.duckdb"));
  const connection = await instance.connect();
  await connection.run("DELETE FROM run_ends; DELETE FROM events WHERE type = 'run.ended'");
  connection.closeSync();
  instance.closeSync();
}

Deno.test("a run is not resumed in silence on a server that changed, and an evaluation on one says so", async () => {
  await using home = await folder();
  await using endpoint = scriptedEndpoint(() => "hello");
  const tools = join(home.path, "tools.json");
  await writeTools(tools, [tool("say", "string"), tool("drop", "string")]);
  const pipeline = await writePipeline(home.path, {
    base_url: endpoint.policy.base_url,
    server: changingServer(tools),
    scenarios: [{ id: "one", task: "Say hello." }],
  });
  const run_dir = join(home.path, "run");
  const dir = relative(Deno.cwd(), run_dir);
  const first = await runVerb(run, { positional: [pipeline], args: { run_dir, yes: true } });
  assert.deepEqual([first.code, first.err.slice(1)], [0, []]);
  await withoutItsEnd(run_dir);
  assert.equal((await runVerb(resume, { positional: [run_dir], args: { yes: true } })).code, 0);
  await withoutItsEnd(run_dir);

  await writeTools(tools, [tool("say", "number", ["text"]), tool("sing", "string")], "2.0.0");
  const refused = await runVerb(resume, { positional: [run_dir], args: { yes: true } });
  assert.deepEqual([refused.code, refused.out, refused.err], [3, [], [
    "error[CATALOG_CHANGED] Cannot resume: tools have changed since the run started:\n" +
    CHANGES.map((line) => `  ${line}`).join("\n") +
    "\n  hint: Restore the previous servers (pin their versions under `servers:`), or accept the changes: " +
    "`hone resume --accept-changes`.",
    `failed: \`hone resume ${dir}\` continues the run`,
  ]]);

  const measured = await runVerb(evaluate, { positional: [run_dir], args: { yes: true }, format: "json" });
  const { notes, run_dir: evaluation } = JSON.parse(measured.out[0]!);
  assert.equal(notes.at(-1), `Tools have changed since this policy was trained: ${CHANGES.join("; ")}.`);
  const log = await readFile(join(evaluation, "run.log"), "utf8");
  const lines = log.split("\n").map((line) => line.slice(31));
  const at = lines.indexOf("Tools have changed since this policy was trained:");
  assert.deepEqual(lines.slice(at + 1, at + 6), CHANGES.map((line) => `  ${line}`), log);

  const accept = { yes: true, accept_changes: true };
  assert.equal((await runVerb(resume, { positional: [run_dir], args: accept })).code, 0);
  const verdict = JSON.parse(await readFile(join(run_dir, "verdict.json"), "utf8"));
  assert.equal(verdict.notes.at(-1), `Tools changed between two starts of this run: ${CHANGES.join("; ")}.`);
  await withoutItsEnd(run_dir);
  assert.equal((await runVerb(resume, { positional: [run_dir], args: { yes: true } })).code, 0, "accepted for good");
  await using records = await openRun(run_dir);
  const [event] = await records.query("SELECT payload FROM events WHERE type = 'catalog.changed'");
  const { found, changes, catalog } = JSON.parse(String(event!.payload));
  assert.deepEqual([found, changes, catalog.tools.length], ["resumed", CHANGES, 2]);
});
