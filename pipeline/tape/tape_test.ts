import assert from "node:assert/strict";
import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline_schema } from "../config/pipeline_schema.ts";
import type { Scenario } from "../events.ts";
import { scenarioDigest, TAPE_VERSION, type TapedCall, type TapeLine, tapeName } from "./lines.ts";
import { Mask } from "./mask.ts";
import { findTape } from "./mod.ts";
import { readTape, sameCall, Sequence } from "./reader.ts";
import type { Player } from "./player.ts";
import { ReplayedLease } from "./replayed_lease.ts";
import { withoutTokens } from "./replies.ts";
import { TapeWriter } from "./writer.ts";

const HEADER: TapeLine = { type: "tape", version: TAPE_VERSION, hone: "0.1.0", pipeline: "test" };
const STAGES = [{ use: "rollout/chat" }];

Deno.test("TapeWriter.write() has every line on disk when it resolves, also of many at once", async () => {
  await using dir = await folder();
  const path = join(dir.path, "deep/tape.jsonl");
  {
    const { writer, fresh } = await TapeWriter.open(path, { resumed: false });
    await using _ = writer;
    assert.equal(fresh, true);
    await writer.write(HEADER);
    await Promise.all(Array.from({ length: 50 }, async (_, i) => {
      await writer.write(begun(`r${i}`));
      assert.ok((await readFile(path, "utf8")).includes(`"r${i}"`));
    }));
  }
  assert.equal((await readTape(path)).rollouts.size, 50);
  await assert.rejects(TapeWriter.open(path, { resumed: false }), {
    message: `Cannot record to ${JSON.stringify(path)}: the file already exists, and a tape is never overwritten`,
  });
});

Deno.test("TapeWriter.open() cuts off a torn line when a tape is continued, and readTape() leaves it out", async () => {
  await using dir = await folder();
  const path = await tapeOf(dir.path, HEADER, begun("a"));
  await appendFile(path, '{"type":"rollout","roll');
  assert.deepEqual([...(await readTape(path)).rollouts.keys()], ["a"]);
  const { writer, fresh } = await TapeWriter.open(path, { resumed: true });
  assert.equal(fresh, false);
  await writer.write(begun("b"));
  await writer[Symbol.asyncDispose]();
  assert.deepEqual([...(await readTape(path)).rollouts.keys()], ["a", "b"]);
});

Deno.test("readTape() keeps the last recording of a rollout, and of a reply the one that was no refusal", async () => {
  await using dir = await folder();
  const reply = (after: number, status: number, messages: string): TapeLine => ({
    type: "reply",
    rollout: "a",
    after,
    asked: { messages, tools: "", settings: "" },
    last: "",
    status,
    body: null,
  });
  const path = await tapeOf(
    dir.path,
    HEADER,
    begun("a"),
    call("a", 0, "lost"),
    begun("a"),
    call("a", 1, "second"),
    call("a", 0, "first"),
    reply(0, 503, "x"),
    reply(0, 200, "x"),
    reply(1, 429, "y"),
  );
  const { calls, replies } = (await readTape(path)).rollouts.get("a")!;
  assert.deepEqual(calls.map(({ tool }) => tool), ["first", "second"]);
  assert.deepEqual(replies.map(({ status }) => status), [200, 429]);
});

Deno.test("readTape() refuses what is missing, newer, empty or broken, naming the line", async () => {
  await using dir = await folder();
  const path = join(dir.path, "tape.jsonl");
  const quoted = JSON.stringify(path);
  const refused = async (text: string | null, message: string) => {
    if (text !== null) await writeFile(path, text);
    await assert.rejects(readTape(path), { name: "HoneError", message });
  };
  const header = JSON.stringify(HEADER);
  await refused(null, `Cannot replay tape ${quoted}: no such file`);
  await refused("", `Cannot replay tape ${quoted}: line 1 is not valid (the file is empty)`);
  await refused("hello", `Cannot replay tape ${quoted}: line 1 is not valid (it is not JSON)`);
  await refused(
    `${JSON.stringify(begun("a"))}\n`,
    `Cannot replay tape ${quoted}: line 1 is not valid (expected one header, on the first line)`,
  );
  await refused(
    `${header}\n{"type":"rollout","rollout":7}\n${header}\n`,
    `Cannot replay tape ${quoted}: line 2 is not valid (rollout: Invalid input: expected string, received number)`,
  );
  await refused(
    `${JSON.stringify({ ...HEADER, version: 2 })}\n`,
    `Cannot replay tape ${quoted}: it has version 2, and this version of hone supports up to 1`,
  );
});

Deno.test("Sequence.take() keeps the recorded order, but for calls that were under way together", () => {
  const recorded = [call("a", 0, "x"), call("a", 1, "y"), call("a", 1, "z"), call("a", 3, "x")] as TapedCall[];
  const sequence = new Sequence(recorded);
  const take = (tool: string) =>
    sequence.take((entry) => sameCall(entry, { server: "s", tool, arguments: { b: 2, a: 1 } }))?.after;
  assert.equal(take("y"), undefined);
  assert.equal(take("x"), 0);
  assert.equal(take("x"), undefined);
  assert.equal(take("z"), 1);
  assert.equal(sequence.next?.tool, "y");
  assert.equal(take("y"), 1);
  assert.equal(take("x"), 3);
  assert.equal(sequence.next, undefined);
});

Deno.test("tapeName() leaves the attempt out, scenarioDigest() what the world does not depend on", () => {
  assert.equal(tapeName("eval-base-heldout-greedy-x.a2-r0.a3"), "eval-base-heldout-greedy-x.a2-r0");
  const scenario: Scenario = { id: "a", task: "Do.", split: "train", tags: [], checks: [{ file: "x", equals: "1" }] };
  assert.equal(scenarioDigest(scenario), scenarioDigest({ ...scenario, task: "Do it.", checks: [{ file: "y" }] }));
  assert.notEqual(scenarioDigest(scenario), scenarioDigest({ ...scenario, setup: { files: { x: "2" } } }));
});

Deno.test("Mask.hide() leaves no path of the run and no secret, in keys or values", () => {
  Deno.env.set("HONE_MASK_TEST_TOKEN", "from-the-environment");
  const config = pipeline_schema.parse({
    name: "test",
    stages: STAGES,
    servers: {
      a: { command: "x", env: { DB: "in-a-variable", DATA: "${workdir}/data", SHORT: "1" } },
      b: { url: "http://u:in-a-password@h/mcp?k=in-a-query", headers: { Authorization: "Bearer in-a-header" } },
    },
    agent: { endpoint: { base_url: "http://h/v1", model: "m", api_key_env: "HONE_MASK_TEST_TOKEN" } },
  });
  const mask = new Mask(config, "/runs/one");
  const work = "/runs/one/env/0003/work";
  const secrets = "in-a-variable in-a-password in-a-query in-a-header from-the-environment";
  assert.deepEqual(mask.hide({ [`${work}/x`]: [`1 ${work} /runs/one/env/0003/home /runs/one/x`, secrets, 1] }, work), {
    "${workdir}/x": ["1 ${workdir} ${workdir}/../home ${run_dir}/x", Array(5).fill("[redacted]").join(" "), 1],
  });
  let deep: unknown = "end";
  for (let i = 0; i < 50_000; i++) deep = [deep];
  assert.ok(JSON.stringify(mask.hide(deep as [])).includes("[nested too deep]"));
});

Deno.test("ReplayedLease.show() puts a folder as long as the recorded one in place of it, in keys and values", () => {
  const scenario = { id: "s", task: "", split: "train" as const, tags: [], checks: [] };
  const catalog = { servers: [], tools: [], schema_hash: "" };
  const { signal } = new AbortController();
  const taped = { scenario: "", workdir_chars: 12, calls: [], replies: [], observations: new Map() };
  const lease = new ReplayedLease({ rollout_id: "r", scenario, catalog, signal }, taped, {} as Player);
  assert.deepEqual(lease.show({ "${workdir}/a": ["${workdir}/b"] }), { "/workdir/www/a": ["/workdir/www/b"] });
});

Deno.test("withoutTokens() takes ids and logprobs out of a reply and nothing else", () => {
  const body = {
    id: "x",
    prompt_token_ids: [1],
    choices: [{ index: 0, message: { content: "a" }, token_ids: [2], logprobs: { content: [] } }],
  };
  assert.deepEqual(withoutTokens(body), { id: "x", choices: [{ index: 0, message: { content: "a" } }] });
});

Deno.test("findTape() refuses a tape of another pipeline and replies that training could not use", async () => {
  await using dir = await folder();
  const tool = (name: string) => ({
    server: "a",
    name,
    model_name: name,
    description: "",
    input_schema: {},
    annotations: {},
    tokens: 1,
  });
  const catalog: TapeLine = {
    type: "catalog",
    server: "a",
    catalog: { servers: [], tools: [tool("read"), tool("write")], schema_hash: "x" },
  };
  const path = await tapeOf(dir.path, HEADER, catalog, begun("r"));
  const find = (config: Record<string, unknown>, tape: Record<string, unknown> = {}, trainer = false) => {
    const whole = { name: "test", stages: STAGES, tape: { mode: "replay", path: dir.path, ...tape }, ...config };
    return findTape(pipeline_schema.parse(whole), { run_dir: dir.path, resumed: false, trainer });
  };
  const quoted = JSON.stringify(path);
  assert.equal((await find({ servers: { a: { command: "x" } } }))!.path, path);
  await assert.rejects(find({ servers: { b: { command: "x" } } }), {
    code: "TAPE_OTHER_PIPELINE",
    message: `Cannot replay tape ${quoted}: it was recorded by another pipeline, with the servers a, not b`,
  });
  await assert.rejects(find({ servers: { a: { command: "x", tools: ["read", "move"] } } }), {
    message:
      `Cannot replay tape ${quoted}: it was recorded with different tools of server "a":\n  tool a/write is gone\n  tool a/move is not on the tape`,
  });
  await assert.rejects(find({ servers: { a: { command: "x" } } }, { replies: true }), {
    message: `Cannot replay the model's replies from tape ${quoted}: it has none`,
  });
  await assert.rejects(find({ servers: { a: { command: "x" } } }, { replies: true }, true), {
    message:
      "Cannot replay the model's replies in a run that trains (ladder: warm_start, rl): a policy must be trained on its own samples",
  });
  await assert.rejects(find({}, { mode: "record" }), { code: "TAPE_EXISTS" });
  assert.equal(await find({}, { mode: "live" }), null);
});

async function folder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "hone-tape-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

async function tapeOf(dir: string, ...lines: TapeLine[]): Promise<string> {
  const path = join(dir, "tape.jsonl");
  await writeFile(path, lines.map((line) => JSON.stringify(line) + "\n").join(""));
  return path;
}

function begun(rollout: string): TapeLine {
  return { type: "rollout", rollout, scenario: "s", workdir_chars: null };
}

function call(rollout: string, after: number, tool: string): TapeLine {
  const answer = { outcome: "ok" as const, text: "", result: null, seconds: 0 };
  return { type: "call", rollout, after, server: "s", tool, arguments: { a: 1, b: 2 }, ...answer };
}
