import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { scriptedEndpoint } from "../../tests/fixtures/scripted_endpoint.ts";
import { FILES_SERVER, trialRun } from "../../tests/fixtures/trial_run.ts";
import type { Trial } from "../plugin.ts";
import { trial } from "./trial.ts";

const write = (content: string) => [{ tool: "write_file", arguments: { path: "tree.txt", content } }];
const SCENARIO = {
  id: "maple",
  task: 'Write "maple" to "tree.txt".',
  checks: [{ file: "tree.txt", equals: "maple" }],
  solution: { calls: write("maple"), answer: "Done." },
};

const said = ({ success, invalid, reason }: Trial) => ({ success, invalid, reason });

Deno.test("trial() plays and judges on the real server, and records nothing", async () => {
  await trialRun([SCENARIO], async (run) => {
    const [scenario] = run.scenarios;
    const solved = await trial(run, scenario!, { play: "solution" });
    assert.deepEqual(said(solved), { success: true, invalid: undefined, reason: "state: every check passes" });
    assert.deepEqual(solved.trajectory.tool_calls.map(({ tool, outcome }) => [tool, outcome]), [["write_file", "ok"]]);
    assert.deepEqual(solved.judgements.answer, { abstain: "the scenario expects no answer" });
    assert.deepEqual(said(await trial(run, scenario!, { play: "nothing" })), {
      success: false,
      invalid: undefined,
      reason: 'state: there is no file "tree.txt"',
    });
    const other = await trial(run, scenario!, { play: { calls: write("oak"), answer: "Done." } });
    assert.deepEqual(said(other), {
      success: false,
      invalid: undefined,
      reason: 'state: "tree.txt" is "oak": expected "maple"',
    });
    const [row] = await run.store.query("SELECT count(*)::INT AS n FROM rollouts");
    assert.deepEqual(row, { n: 0 });
  });
});

Deno.test("trial() opens the base policy once, and each trial samples with its own seed", async () => {
  await using endpoint = scriptedEndpoint(({ messages }) =>
    messages.at(-1)!.role === "tool" ? "Done." : { message: { tool_calls: [called("maple")] } }
  );
  const { base_url, model } = endpoint.policy;
  const agent = { endpoint: { base_url, model, context_tokens: 4096 } };
  await trialRun([SCENARIO], async (run) => {
    const [scenario] = run.scenarios;
    const policy = { policy: "base" };
    const trials = await Promise.all([1, 2].map((seed) => trial(run, scenario!, { play: policy, seed })));
    assert.deepEqual(trials.map(({ success }) => success), [true, true]);
    assert.deepEqual(trials.map(({ trajectory }) => trajectory.outcome.answer), ["Done.", "Done."]);
    await assert.rejects(trial(run, scenario!, { play: { policy: "tuned" } }), {
      message: 'no policy "tuned": expected base',
    });
  }, { agent });
  assert.deepEqual([...new Set(endpoint.requests.map(({ seed }) => seed))].length > 1, true);
});

Deno.test("trial() says why it cannot be judged, and ends with its signal", async () => {
  const broken = { ...SCENARIO, setup: { calls: [{ tool: "read_text_file", arguments: { path: "none.txt" } }] } };
  await trialRun([broken], async (run) => {
    const [scenario] = run.scenarios;
    const failed = await trial(run, scenario!, { play: "solution" });
    assert.equal(failed.success, false);
    assert.match(failed.invalid!, /^Setup call "read_text_file" of the scenario failed/);
    assert.equal(failed.reason, failed.invalid);
    await assert.rejects(
      trial(run, scenario!, { play: "solution", signal: AbortSignal.abort(new Error("enough")) }),
      { message: "enough" },
    );
  });
});

function called(content: string) {
  return {
    id: "1",
    type: "function",
    function: { name: "write_file", arguments: JSON.stringify({ path: "tree.txt", content }) },
  };
}

Deno.test("trial() finds the scenario's own fixture in the folder, over that of the server", async () => {
  const base_dir = await Deno.makeTempDir();
  const put = async (path: string, text: string) => {
    await Deno.mkdir(join(base_dir, dirname(path)), { recursive: true });
    await Deno.writeTextFile(join(base_dir, path), text);
  };
  await put("common/box/a.txt", "of the server");
  await put("common/box/b.txt", "of the server");
  await put("own/box/a.txt", "of the scenario");
  const expected = { "box/a.txt": "of the scenario", "box/b.txt": "of the server", "box/c.txt": "a file" };
  const checks = Object.entries(expected).map(([file, equals]) => ({ file, equals }));
  const setup = { fixture: "own", files: { "box/c.txt": "a file" } };
  const given = { id: "own", task: "Look.", checks, setup };
  const servers = { files: { ...FILES_SERVER, fixture: join(base_dir, "common") } };
  await trialRun([{ ...given, setup: { files: setup.files } }], async (run) => {
    const [scenario] = run.scenarios;
    const own = { ...scenario!, setup: { ...setup, fixture: "own" } };
    assert.equal((await trial(run, scenario!, { play: "nothing" })).success, false);
    await Deno.rename(join(base_dir, "own"), join(run.base_dir, "own"));
    assert.deepEqual(said(await trial(run, own, { play: "nothing" })), {
      success: true,
      invalid: undefined,
      reason: "state: every check passes",
    });
    const outside = { ...scenario!, setup: { fixture: "../own" } };
    assert.equal(
      (await trial(run, outside, { play: "nothing" })).invalid,
      `Cannot copy the fixture "../own": expected a folder in that of the pipeline, ${JSON.stringify(run.base_dir)}`,
    );
  }, { servers });
  await Deno.remove(base_dir, { recursive: true });
});
