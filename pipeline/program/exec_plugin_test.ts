import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { loadProgram } from "./exec_plugin.ts";
import { Program } from "./program.ts";
import type { Context, Environment, ExportArgs, Kind, Plugin, Roles } from "../plugin.ts";
import { conformance, fakeContext, fakeJudgeArgs, fakeScenario, fakeSourceTools, fakeTrajectory } from "../testing.ts";

const BASE = join(import.meta.dirname!, "../../tests/fixtures/programs");
const load = () => loadProgram("exec:./judge.py", BASE) as Promise<Plugin<"judge">>;

async function judge(word: string, given: Partial<Context<unknown>> = {}) {
  const plugin = await load();
  const context = fakeContext(plugin.config.parse({ word }), { base_dir: BASE, ...given });
  const role = await plugin.create(context) as Roles["judge"] & AsyncDisposable;
  return { role, context };
}

conformance(await load());

Deno.test("loadProgram() reads kind, settings and defaults from the program's hello", async () => {
  const plugin = await load();
  assert.deepEqual([plugin.kind, plugin.name], ["judge", "word"]);
  assert.deepEqual(plugin.config.parse({}), { word: "hi" });
  assert.equal(plugin.config.safeParse({ wort: "hi" }).success, false);
});

Deno.test("a program's judge observes through hone and judges stored records, token arrays included", async () => {
  const { role, context } = await judge("hi");
  const asked: unknown[] = [];
  const environment: Environment = {
    id: "e1",
    workdir: null,
    tools: [],
    call: () => Promise.reject(new Error("not called")),
    observe: (spec) => {
      asked.push(spec);
      return Promise.resolve({ outcome: "ok", text: "hi there", result: null, seconds: 0 });
    },
  };
  const scenario = fakeScenario({ id: "a.txt" });
  const observation = await role.observe!(environment, scenario, undefined);
  assert.deepEqual(asked, [{ tool: "read_text_file", arguments: { path: "a.txt" } }]);
  assert.equal(observation, "hi there");
  const before = await role.observeBefore!(environment, scenario, undefined);
  assert.deepEqual(await role.observe!(environment, scenario, undefined, before), { before: "a.txt" });
  const turn = {
    type: "turn" as const,
    index: 0,
    input: [],
    text: "",
    tool_calls: [],
    output_token_ids: Int32Array.of(1, 2, 3),
    finish_reason: "stop" as const,
    prompt_tokens: 1,
    output_tokens: 3,
    seconds: 0,
  };
  const seen = fakeTrajectory({ turns: [turn], observations: { word: observation } });
  assert.deepEqual(await role.judge(fakeJudgeArgs({ group: [seen, fakeTrajectory()], scenario })), [
    { score: 1, reason: "3 tokens, word found" },
    { score: 0, reason: "0 tokens, no word" },
  ]);
  // Its stderr is a pipe of its own: all of it has been read once the program has ended.
  await role[Symbol.asyncDispose]!();
  assert.deepEqual(context.lines, ["info: ready in test"]);
});

Deno.test("a program's error is thrown with its own words", async () => {
  const { role } = await judge("fail");
  await using _ = role;
  await assert.rejects(
    async () => await role.judge(fakeJudgeArgs()),
    new Error("the judge has no opinion"),
  );
});

Deno.test("a program ends when the run is aborted, and its open call says so", async () => {
  const controller = new AbortController();
  const { role } = await judge("sleep", { signal: controller.signal });
  const verdict = role.judge(fakeJudgeArgs()) as Promise<unknown>;
  controller.abort();
  await assert.rejects(verdict, new Error("it ended with SIGKILL; its last words: ready in test"));
  await role[Symbol.asyncDispose]();
});

/** A program for any role: its kind is its file's name, and it answers with what it was given. */
const ANY_ROLE = `import json, os, sys
def send(message): print(json.dumps(message), flush=True)
def back(call_id, name, *params):
    send({"call": name, "of": call_id, "id": "x", "params": list(params)})
    return json.loads(sys.stdin.readline())
for line in sys.stdin:
    message = json.loads(line)
    call_id, method, params = message["id"], message["method"], message["params"]
    result = {}
    if method == "hello":
        kind = os.path.basename(sys.argv[0])[:-3]
        result = {"kind": kind, "name": "any", "summary": "Plays any role."}
    if method == "discover": result = back(call_id, "connect", params["servers"][0])["result"]
    if method == "produce":
        leased = [back(call_id, "lease", {"setup": {"files": {}}})["result"]["id"] for _ in range(2)]
        seen = back(call_id, "observe", leased[0], {"tool": "a", "arguments": {}})["result"]["outcome"]
        tried = back(call_id, "trial", {"id": "t"}, {"play": "nothing"})["result"]["reason"]
        gone = back(call_id, "release", leased[0]) and back(call_id, "call", leased[0], "a", {})["error"]["message"]
        names = [tool["name"] for tool in params["catalog"]["tools"]] + [*leased, seen, tried, gone, str(params["seed"])]
        result = [{"id": name} for name in names]
    if method == "shape": result = {"value": params["judgements"]["state"]["score"] / 2, "parts": {}}
    if method == "export":
        answer = back(call_id, "write_adapter", params["dir"])
        result = {"dir": params["dir"], "proof": answer.get("result", answer.get("error"))}
    send({"id": call_id, "result": result})
`;

async function anyRole<K extends Kind>(kind: K, use: (role: Roles[K]) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "hone-exec-"));
  try {
    await writeFile(join(dir, `${kind}.py`), ANY_ROLE);
    const plugin = await loadProgram(`exec:./${kind}.py`, dir);
    const role = await plugin.create(fakeContext({}, { base_dir: dir }));
    await use(role as Roles[K]);
    await role[Symbol.asyncDispose]?.();
  } finally {
    await rm(dir, { recursive: true });
  }
}

Deno.test("a program discovers through the connection that it is given", () =>
  anyRole("discoverer", async (role) => {
    const catalog = { servers: [], tools: [], schema_hash: "h" };
    assert.deepEqual(
      await role.discover([{ name: "files" }], ({ name }) => Promise.resolve({ ...catalog, schema_hash: name })),
      {
        ...catalog,
        schema_hash: "files",
      },
    );
  }));

Deno.test("a program produces scenarios from the catalog", () =>
  anyRole("scenario-source", async (role) => {
    const tools = ["a", "b"].map((name) => ({
      name,
      server: "s",
      model_name: name,
      description: "",
      input_schema: {},
      annotations: {},
      tokens: 1,
    }));
    const released: string[] = [];
    let count = 0;
    const lease = async () => {
      const id = `e${++count}`;
      const disposed = () => Promise.resolve(void released.push(id));
      return { ...await fakeSourceTools().lease(), id, [Symbol.asyncDispose]: disposed };
    };
    const given = fakeSourceTools({ lease });
    const made = [];
    for await (const { id } of role.produce({ servers: [], tools, schema_hash: "h" }, [], given)) made.push(id);
    const gone = 'no environment "e1" is leased';
    assert.deepEqual(made, ["a", "b", "e1", "e2", "unknown_tool", "no server", gone, "7"]);
    assert.deepEqual(released, ["e1", "e2"], "what the program leaves is released after it");
  }));

Deno.test("a program shapes rewards", () =>
  anyRole("reward-shaper", async (role) => {
    assert.deepEqual(await role.shape(fakeTrajectory(), { state: { score: 1, reason: "" } }), {
      value: 0.5,
      parts: {},
    });
  }));

Deno.test("a program exports, and hears why the adapter could not be written", () =>
  anyRole("exporter", async (role) => {
    const args = { dir: "/x", policy: {}, agent: {}, catalog: {}, verdict: {}, model: {} };
    const run = (weights: ExportArgs["weights"]) => role.export({ ...args, weights } as unknown as ExportArgs);
    assert.deepEqual(await run(({ dir }) => Promise.resolve({ wrote: dir })), { dir: "/x", proof: { wrote: "/x" } });
    assert.deepEqual(await run(() => Promise.reject(new Error("no space"))), {
      dir: "/x",
      proof: { message: "no space" },
    });
  }));

for (const line of ["5", "null", '"ready"']) {
  Deno.test(`Program gives up on a program that writes ${line} for an answer, and hone goes on`, async () => {
    await using program = new Program(["/bin/sh", "-c", `read -r call; echo '${line}'; read -r end`], {
      cwd: BASE,
      env: Deno.env.toObject(),
    });
    await assert.rejects(program.call("hello", {}), { message: `it wrote a line that is no JSON object: ${line}` });
  });
}

Deno.test("Program ends its whole process group when it is disposed", async () => {
  const script = 'sleep 600 & echo "{\\"id\\":0,\\"result\\":$!}"; read -r line; wait';
  const program = new Program(["/bin/sh", "-c", script], { cwd: BASE, env: Deno.env.toObject() });
  const grandchild = await program.call("hello", {}) as number;
  assert.equal(process.kill(grandchild, 0), true);
  await program[Symbol.asyncDispose]();
  while (isRunning(grandchild)) await new Promise((resolve) => setTimeout(resolve, 5));
});

/** False once a process is gone or only waits for its parent to notice. */
function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(Deno.readTextFileSync(`/proc/${pid}/stat`));
  } catch {
    return false;
  }
}
