/** The committed tape, replayed without its server; and what happens where it has no answer. @module */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { examinePipeline } from "../../pipeline/config/pipeline_file.ts";
import { builtins } from "../../plugins/mod.ts";
import evaluate from "../../runners/verbs/evaluate.ts";
import { runVerb } from "../fixtures/small_run.ts";
import { evaluateTaped, solve, TAPE, TAPED } from "../fixtures/tape/record_fixture.ts";
import { folder, rows } from "../runs/hone_process.ts";
import { records } from "./tape_runs.ts";

const NO_SERVER = "servers.files.command=no-such-program";
const ALL_SOLVED = /^base on heldout, greedy: 1\.00 \(95 % interval .*, n 3\)$/m;
const ENDS = "SELECT rollout_id, outcome, cause FROM rollouts ORDER BY ALL";

Deno.test("evaluate replays a whole tape without server, endpoint or key, the same each time", async () => {
  await using dir = await folder();
  const replay = async (name: string) => {
    const run_dir = join(dir.path, name);
    const { code, out } = await runVerb(evaluate, {
      positional: [TAPED],
      args: { run_dir, set: [NO_SERVER], yes: true },
    });
    assert.equal(code, 0);
    assert.match(out[0]!, ALL_SOLVED);
    assert.ok(!existsSync(join(run_dir, "env")));
    return await records(run_dir);
  };
  const first = await replay("one");
  assert.match(first, /eval-base-heldout-greedy-where-r0.*list_allowed_directories/);
  assert.equal(await replay("two"), first);
});

Deno.test("evaluate replays the server alone against a scripted endpoint, the same each time", async () => {
  await using dir = await folder();
  const replay = async (name: string) => {
    const run_dir = join(dir.path, name);
    const { out } = await evaluateTaped(run_dir, [NO_SERVER, "tape.replies=false"]);
    assert.match(out[0]!, ALL_SOLVED);
    return await records(run_dir);
  };
  assert.equal(await replay("one"), await replay("two"));
});

Deno.test("a call that the tape does not have ends its rollout with tape_miss and says what was asked", async () => {
  await using dir = await folder();
  const run_dir = join(dir.path, "run");
  const set = [NO_SERVER, "tape.replies=false"];
  await evaluateTaped(run_dir, set, (request) => solve(request).replace("said.txt", "heard.txt"));
  assert.deepEqual(await rows(run_dir, ENDS), [
    { rollout_id: "eval-base-heldout-greedy-copy-r0", outcome: "answered", cause: null },
    {
      rollout_id: "eval-base-heldout-greedy-missing-r0",
      outcome: "tape_miss",
      cause: 'The tape has no such call: rollout "eval-base-heldout-greedy-missing-r0" called ' +
        'files.write_file {"path":"heard.txt","content":"none"}; ' +
        'next on the tape: files.write_file {"path":"said.txt","content":"none"}',
    },
    { rollout_id: "eval-base-heldout-greedy-where-r0", outcome: "answered", cause: null },
  ]);
  const invalid = await rows(run_dir, "SELECT rollout_id FROM rewards WHERE invalid IS NOT NULL");
  assert.deepEqual(invalid, [{ rollout_id: "eval-base-heldout-greedy-missing-r0" }]);
});

Deno.test("a reply or a rollout that the tape does not have ends its rollout with tape_miss", async () => {
  await using dir = await folder();
  const causes = async (name: string, ...set: string[]) => {
    const run_dir = join(dir.path, name);
    await runVerb(evaluate, { positional: [TAPED], args: { run_dir, set: [NO_SERVER, ...set], yes: true } });
    return (await rows(run_dir, ENDS)).map(({ outcome, cause }) => `${outcome}: ${cause}`);
  };
  const asked = '"eval-base-heldout-greedy-copy-r0" asked the model after user "Copy \\"a.txt\\" to \\"b.txt\\"."';
  assert.equal(
    (await causes("settings", "agent.max_tokens=65"))[0],
    `tape_miss: The tape has no such reply: rollout ${asked}; next on the tape: the reply after ` +
      'user "Copy \\"a.txt\\" to \\"b.txt\\"." (different: the model or its sampling)',
  );
  const tried = await causes("tries", "evaluate.tries=2");
  assert.deepEqual(tried.filter((cause) => cause.startsWith("tape_miss")), [
    'tape_miss: The tape has no rollout "eval-base-heldout-greedy-copy-r1"',
    'tape_miss: The tape has no rollout "eval-base-heldout-greedy-missing-r1"',
    'tape_miss: The tape has no rollout "eval-base-heldout-greedy-where-r1"',
  ]);
});

Deno.test("on_miss: live starts the server at the first miss, in the state that the tape had reached", async () => {
  await using dir = await folder();
  using _ = key();
  const run_dir = join(dir.path, "run");
  const set = ["tape.replies=false", "tape.on_miss=live"];
  const { out } = await evaluateTaped(run_dir, set, (request) => {
    const asked = solve(request);
    // After what is on the tape, one call more: it reads what only the taped call has written.
    const written = request.messages.at(-1)!.content.includes("Successfully wrote to b.txt");
    return written ? JSON.stringify({ name: "read_text_file", arguments: { path: "b.txt" } }) : asked;
  });
  assert.match(out[0]!, ALL_SOLVED);
  const calls = "SELECT tool, outcome, text FROM tool_calls WHERE rollout_id LIKE '%-copy-r0' ORDER BY turn";
  assert.deepEqual((await rows(run_dir, calls)).at(-1), { tool: "read_text_file", outcome: "ok", text: "dune" });
  assert.deepEqual((await rows(run_dir, "SELECT count(*)::INT AS n FROM judgements WHERE score = 1"))[0], { n: 3 });
});

Deno.test("a recording holds no secret and no path of its run, and is refused where the file exists", async () => {
  await using dir = await folder();
  using _ = key();
  const run_dir = join(dir.path, "run");
  const leak = "servers.files.env={SECRET_OF_THE_SERVER: in-its-environment}";
  await evaluateTaped(run_dir, ["tape=record", "tape.path=" + join(dir.path, "t.jsonl"), leak], (request) => {
    const said = solve(request);
    return said === "Done." ? "Done: in-its-environment, key-of-the-endpoint." : said;
  });
  const text = await readFile(join(dir.path, "t.jsonl"), "utf8");
  assert.ok(text.includes("Done: [redacted], [redacted]."));
  for (const hidden of [dir.path, "in-its-environment", "key-of-the-endpoint"]) assert.ok(!text.includes(hidden));
  await assert.rejects(evaluateTaped(join(dir.path, "again"), ["tape=record"]), {
    message: `Cannot record to ${JSON.stringify(TAPE)}: the file already exists, and a tape is never overwritten`,
  });
  assert.ok(!existsSync(join(dir.path, "again")));
});

Deno.test("a replay needs no environment variable of servers and endpoint, a live run does", async () => {
  const text = (await readFile(TAPED, "utf8")).replace("reset: workdir", 'env: { A: "${NOT_SET_ANYWHERE}" }');
  const examined = async (tape: string) =>
    (await examinePipeline(text, TAPED, { builtins, env: {}, overrides: { tape } })).diagnostics.map(({ code }) =>
      code
    );
  assert.deepEqual(await examined("replay"), []);
  assert.deepEqual(await examined("live"), ["ENV_NOT_SET", "ENV_NOT_SET"]);
});

/** The endpoint's key, while something is live. */
function key(): Disposable {
  Deno.env.set("HONE_TAPE_TEST_KEY", "key-of-the-endpoint");
  return { [Symbol.dispose]: () => Deno.env.delete("HONE_TAPE_TEST_KEY") };
}
