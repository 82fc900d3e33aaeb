/** A conversation that outgrows the model's context: shortened, recorded, reported, and replayed without the model. @module */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { scriptedEndpoint, type ScriptedRequest } from "../fixtures/scripted_endpoint.ts";
import { Store } from "../../pipeline/store/store.ts";
import { evaluatedRollouts } from "../../pipeline/verdict/evaluated_rollouts.ts";
import { runVerb } from "../fixtures/small_run.ts";
import run from "../../runners/verbs/run.ts";
import { folder, rows } from "../runs/hone_process.ts";
import { records } from "../tape/tape_runs.ts";
import { writePipeline } from "./changing_runs.ts";

const SERVER = resolve(import.meta.dirname!, "../fixtures/mcp_server.ts");
const CONTEXT = 1500;
const TURNS = "SELECT turn, prompt_tokens, shortened FROM turns ORDER BY turn";

/** Reads five long results, then answers; what is longer than its context is refused in vLLM's words. */
function reads({ messages, max_tokens }: ScriptedRequest) {
  const tokens = messages.map(({ content }) => content).join("\n").length + max_tokens;
  if (tokens > CONTEXT) {
    const message = `This model's maximum context length is ${CONTEXT} tokens. However, you requested ${tokens} tokens`;
    return { status: 400, body: { error: { message, type: "BadRequestError", code: 400 } } };
  }
  const calls = messages.filter(({ role }) => role === "assistant").length;
  return calls < 5 ? JSON.stringify({ name: "big", arguments: { bytes: 400 + calls } }) : "hello";
}

for (const [what, said] of [["says", CONTEXT], ["does not say", 0]] as const) {
  Deno.test(`run shortens old results for an endpoint that ${what} its context, and a replay does the same`, async () => {
    await using home = await folder();
    const run_dir = join(home.path, "run");
    let pipeline: string;
    {
      await using endpoint = scriptedEndpoint(reads, { context_tokens: said });
      pipeline = await writePipeline(home.path, {
        base_url: endpoint.policy.base_url,
        server: { command: "deno", args: ["run", "-A", SERVER], tools: ["big"] },
        agent: { tool_format: "json", max_tokens: 100 },
        scenarios: [{ id: "long", task: "Read." }],
      });
      const args = { run_dir, yes: true, set: ["tape=record"] };
      assert.equal((await runVerb(run, { positional: [pipeline], args })).code, 0);
      const turns = await rows(run_dir, TURNS);
      assert.equal(turns.length, 6);
      assert.ok(turns.every(({ prompt_tokens }) => Number(prompt_tokens) + 100 <= CONTEXT));
      assert.ok(turns.some(({ shortened }) => shortened) && turns[1]!.shortened === null);
      assert.equal(endpoint.requests.length, said ? 6 : 7, "one refusal, where nobody said how much fits");
    }
    const note = /before this turn, \d earlier messages with tool results were shortened to fit the context/;
    const report = await readFile(join(run_dir, "report.md"), "utf8");
    assert.match(report, /\| with shortened history \| 100 ?% \|/);
    assert.match(report, note);
    assert.match(await readFile(join(run_dir, "report.html"), "utf8"), note);

    const replayed = join(home.path, "replayed");
    const set = [`tape={mode: replay, path: ${JSON.stringify(run_dir)}}`, "servers.it.command=no-such-program"];
    assert.equal((await runVerb(run, { positional: [pipeline], args: { run_dir: replayed, yes: true, set } })).code, 0);
    assert.equal(await records(replayed), await records(run_dir));
  });
}

Deno.test("evaluatedRollouts() reads files of before there was anything shortened", async () => {
  await using dir = await folder();
  const path = join(dir.path, "run.duckdb");
  await (await Store.open(path, { run_id: "r", mode: "create" }))[Symbol.asyncDispose]();
  const instance = await DuckDBInstance.create(path);
  const connection = await instance.connect();
  await connection.run("ALTER TABLE turns DROP COLUMN shortened");
  connection.closeSync();
  instance.closeSync();
  await using store = await Store.open(path, { run_id: "r", mode: "read" });
  assert.deepEqual(await evaluatedRollouts(store, "heldout"), []);
});
