import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { type LoadOptions, loadPipeline } from "./pipeline_file.ts";
import { placed } from "./resolved_yaml.ts";
import { HoneError, render } from "../diagnostics/mod.ts";
import type { Builtins } from "../loader.ts";
import type { Kind, Plugin } from "../plugin.ts";

function stage(kind: Kind, name: string, config: z.ZodType = z.strictObject({})): () => Promise<{ default: Plugin }> {
  const create = () => Promise.reject(new Error("reading a pipeline creates nothing"));
  return () => Promise.resolve({ default: { kind, name, summary: "A test.", config, examples: [], create } });
}

const builtins: Builtins = {
  "discoverer/mcp": stage("discoverer", "mcp"),
  "scenario-source/file": stage(
    "scenario-source",
    "file",
    z.strictObject({ path: z.string().describe("A file.").meta({ path: "exists" }), limit: z.int().default(10) }),
  ),
  "rollout/chat": stage("rollout", "chat"),
  "judge/state": stage("judge", "state"),
  "reward-shaper/weighted": stage("reward-shaper", "weighted"),
  "trainer/mlx": stage("trainer", "mlx"),
};

const PIPELINE = `name: files
model: smollm2-135m
agent: { system_prompt: ./system.md }
servers:
  files:
    command: npx
    args: [-y, "\${HONE_PKG}", "\${workdir}", "$\${LITERAL}"]
    env: { PORT: 8080, TOKEN: "\${HONE_TOKEN}" }
stages:
  - use: discoverer/mcp
  - use: scenario-source/file
    with: { path: ./system.md }
  - use: rollout/chat
  - use: judge/state
  - { use: judge/state, id: strict }
  - use: reward-shaper/weighted
  - use: trainer/mlx
train:
  steps: \${HONE_STEPS}
`;
const ENV = { HONE_PKG: "some-server@1.0.0", HONE_TOKEN: "s3cret", HONE_STEPS: "5" };

async function load(text: string, options: Partial<LoadOptions> & { files?: Record<string, string> } = {}) {
  const dir = await mkdtemp(join(tmpdir(), "hone-config-"));
  try {
    const files = { "pipeline.yaml": text, "system.md": "Use ${TOOLS}.\n", ...options.files };
    for (const [name, content] of Object.entries(files)) await writeFile(join(dir, name), content);
    const path = join(dir, "pipeline.yaml");
    const loaded = await loadPipeline(path, { builtins, env: ENV, ...options });
    await writeFile(path, loaded.resolved_yaml);
    return { dir, loaded, again: await loadPipeline(path, { builtins, env: ENV }) };
  } finally {
    await rm(dir, { recursive: true });
  }
}

/** The diagnostics of a pipeline that is refused, without the folder's name. */
async function refused(text: string, options: Parameters<typeof load>[1] = {}): Promise<string> {
  const error = await load(text, options).then(() => assert.fail("it was not refused"), (error) => error);
  assert.ok(error instanceof HoneError, String(error));
  return render(error.diagnostics).replace(/\/\S*\/hone-config-\w+/g, "{dir}");
}

Deno.test("loadPipeline() fills in defaults, ids, texts and the environment", async () => {
  const { loaded, dir } = await load(PIPELINE);
  assert.equal(loaded.base_dir, dir);
  assert.deepEqual(loaded.stages.map(({ id }) => id), ["mcp", "file", "chat", "state", "strict", "weighted", "mlx"]);
  assert.deepEqual(loaded.stages[1]!.with, { path: "./system.md", limit: 10 });
  const { config } = loaded;
  assert.equal(config.agent.system_prompt, "Use ${TOOLS}.");
  assert.equal(config.train.steps, 5);
  assert.equal(config.train.loss.preset, "cispo");
  const server = config.servers.files!;
  assert.ok("command" in server);
  assert.deepEqual(server.args, ["-y", "some-server@1.0.0", "${workdir}", "${LITERAL}"]);
  assert.deepEqual(server.env, { PORT: "8080", TOKEN: "s3cret" });
  assert.equal(server.isolation, "process");
});

Deno.test("resolved_yaml holds no value of the environment and loads as the original did", async () => {
  const { loaded, again } = await load(PIPELINE);
  assert.doesNotMatch(loaded.resolved_yaml, /s3cret|some-server/);
  assert.match(loaded.resolved_yaml, /TOKEN: \$\{HONE_TOKEN\}/);
  assert.deepEqual(again.config, loaded.config);
  assert.deepEqual(
    again.stages.map(({ id, use, with: w }) => ({ id, use, w })),
    loaded.stages.map(({ id, use, with: w }) => ({ id, use, w })),
  );
  assert.equal(again.base_dir, loaded.base_dir);
});

Deno.test("loadPipeline() reads servers from a client's mcpServers file, secrets left out of resolved_yaml", async () => {
  const mcp = {
    mcpServers: { notes: { type: "http", url: "https://notes.example/mcp", headers: { "x-key": "${HONE_TOKEN}" } } },
  };
  const text = PIPELINE.replace(/servers:[\s\S]*?stages:/, "servers: ./mcp.json\nstages:");
  const { loaded, again } = await load(text, { files: { "mcp.json": JSON.stringify(mcp) } });
  const notes = loaded.config.servers.notes!;
  assert.ok("url" in notes);
  assert.deepEqual([notes.transport, notes.isolation, notes.headers], ["http", "shared", { "x-key": "s3cret" }]);
  assert.doesNotMatch(loaded.resolved_yaml, /s3cret/);
  assert.deepEqual(again.config, loaded.config);
});

Deno.test("loadPipeline() leaves the address of a server with neither command nor url to MCP_URL", async () => {
  const text = PIPELINE.replace(/servers:[\s\S]*?stages:/, "servers:\n  it:\n  other: { tools: [a] }\nstages:");
  const { loaded } = await load(text, { env: { ...ENV, MCP_URL: "https://given.example/mcp" } });
  const urls = Object.values(loaded.config.servers).map((server) => "url" in server ? server.url : server.command);
  assert.deepEqual(urls, ["https://given.example/mcp", "https://given.example/mcp"]);
});

Deno.test("loadPipeline() has no rungs and only the base policy when there is no trainer", async () => {
  const text = PIPELINE.replace("  - use: trainer/mlx\n", "").replace("model: smollm2-135m", "seed: 1")
    .replace("agent: {", "agent: { endpoint: { base_url: 'http://127.0.0.1:1/v1', model: m },");
  const { loaded, again } = await load(text);
  assert.deepEqual([loaded.config.ladder, loaded.config.evaluate.policies], [[], ["base"]]);
  assert.deepEqual(again.config, loaded.config);
});

Deno.test("loadPipeline() takes overrides by path, stage id and index, and refuses unknown ones", async () => {
  const overrides = { "train.steps": 40, "stages.file.with.limit": 3, "limits.wall_clock_secs": 60 };
  const { loaded } = await load(PIPELINE, { overrides });
  assert.deepEqual([loaded.config.train.steps, loaded.config.limits.wall_clock_secs], [40, 60]);
  assert.deepEqual(loaded.stages[1]!.with, { path: "./system.md", limit: 3 });
  assert.match(
    await refused(PIPELINE, { overrides: { "stages.nope.with.x": 1 } }),
    /^error\[OVERRIDE_UNKNOWN\] Cannot set "stages.nope.with.x": no such stage\n {2}hint: stages: discoverer\/mcp, scenario-source\/file, rollout\/chat, judge\/state, strict, reward-shaper\/weighted, trainer\/mlx; or their index, from 0$/,
  );
  assert.match(
    await refused(PIPELINE, { overrides: { "train.stepz": 1 } }),
    /Unknown field "stepz" in train: did you mean "steps"\?/,
  );
});

Deno.test("loadPipeline() takes overrides of stages by their use, the plugin's short name or its kind, where one has it", async () => {
  for (const name of ["file", "scenario-source/file", "scenario-source", "1"]) {
    const { loaded } = await load(PIPELINE, { overrides: { [`stages.${name}.with.limit`]: 4 } });
    assert.deepEqual(loaded.stages[1]!.with, { path: "./system.md", limit: 4 }, name);
  }
  assert.equal(
    await refused(PIPELINE, { overrides: { "stages.judge.with.x": 1, "stages.trainer/mlxx.with.x": 1 } }),
    `error[OVERRIDE_AMBIGUOUS] Cannot set "stages.judge.with.x": "judge" is ambiguous: stages[3] (judge/state) or stages[4] (judge/state)
  hint: use the index, as in stages.3

error[OVERRIDE_UNKNOWN] Cannot set "stages.trainer/mlxx.with.x": no such stage: did you mean "trainer/mlx"?`,
  );
});

Deno.test("loadPipeline() says what file it cannot find", async () => {
  await assert.rejects(
    loadPipeline("/nowhere/p.yaml", { builtins }),
    (error) => error instanceof HoneError && error.message === 'Cannot read pipeline "/nowhere/p.yaml": no such file',
  );
});

Deno.test("loadPipeline() keeps the environment's values out of its messages", async () => {
  const said = await refused(PIPELINE.replace("${HONE_STEPS}", "${HONE_TOKEN}"));
  assert.equal(
    said,
    [
      '{dir}/pipeline.yaml:19:10 error[WRONG_TYPE] train.steps is "${HONE_TOKEN}": expected a number',
      "  19 |   steps: ${HONE_TOKEN}",
      "     |          ^^^^^^^^^^^^^",
    ].join("\n"),
  );
});

Deno.test("a run's record keeps relative paths relative, and finds its original where the project was moved to", async () => {
  const home = await mkdtemp(join(tmpdir(), "hone-moved-"));
  try {
    const [here, there] = [join(home, "here"), join(home, "there")];
    const run = (project: string) => join(project, "runs/one/pipeline.yaml");
    for (const project of [here, there]) {
      await mkdir(join(project, "runs/one"), { recursive: true });
      await mkdir(join(project, "model"));
      await writeFile(join(project, "system.md"), "Use it.");
    }
    const text = PIPELINE.replace("smollm2-135m", "./model").replace(
      "name: files",
      "name: files\ntape: { mode: record, path: ./tape.jsonl }",
    );
    await writeFile(join(here, "pipeline.yaml"), text);
    const loaded = await loadPipeline(join(here, "pipeline.yaml"), { builtins, env: ENV });
    assert.deepEqual([loaded.config.model, loaded.config.tape.path], [join(here, "model"), join(here, "tape.jsonl")]);
    const record = placed(loaded.resolved_yaml, join(here, "runs/one"));
    assert.match(record, /\n# from this folder: \.\.\/\.\.\/pipeline\.yaml\n/);
    assert.match(record, /\nmodel: \.\/model\n/);
    for (const project of [here, there]) await writeFile(run(project), record);
    const base_of = async (project: string) => (await loadPipeline(run(project), { builtins, env: ENV })).base_dir;
    assert.equal(await base_of(here), here);
    // Only the run was moved: there is no pipeline, or another one.
    assert.equal(await base_of(there), here);
    await writeFile(join(there, "pipeline.yaml"), text.replace("name: files", "name: other"));
    assert.equal(await base_of(there), here);
    await writeFile(join(there, "pipeline.yaml"), text);
    assert.equal(await base_of(there), there);
    assert.equal((await loadPipeline(run(there), { builtins, env: ENV })).config.model, join(there, "model"));
  } finally {
    await rm(home, { recursive: true });
  }
});
