import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HoneError } from "../../pipeline/diagnostics/mod.ts";
import { runVerb } from "../../tests/fixtures/small_run.ts";
import validate, { pipelineFences } from "./validate.ts";

const SCENARIOS = `- { id: one, task: Write., split: train, checks: [{ file: a.txt }] }
- { id: two, task: Write., split: heldout, checks: [{ file: a.txt }] }
`;
const GOOD = `name: good
model: smollm2-135m
servers: { files: { command: npx, args: ["\${workdir}"] } }
stages:
  - use: discoverer/mcp
  - use: scenario-source/file
    with: { path: ./scenarios.yaml }
  - use: rollout/chat
  - use: judge/state
  - use: reward-shaper/weighted
  - use: trainer/mlx
`;

async function run(files: Record<string, string>, names: string[], format = "text") {
  const dir = await mkdtemp(join(tmpdir(), "hone-validate-"));
  try {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(join(dir, name, ".."), { recursive: true });
      await writeFile(join(dir, name), text);
    }
    const { code, out } = await runVerb(validate, { positional: names.map((name) => join(dir, name)), format });
    return { code, said: out.join("\n").replaceAll(dir, "{dir}") };
  } finally {
    await rm(dir, { recursive: true });
  }
}

Deno.test("validate accepts good pipelines in files, folders and globs", async () => {
  const files = {
    "a/p.yaml": GOOD,
    "a/scenarios.yaml": SCENARIOS,
    "a/b/p.yml": GOOD,
    "a/b/scenarios.yaml": SCENARIOS,
  };
  for (const name of ["a", "a/**/p.y*ml"]) {
    const { code, said } = await run(files, [name]);
    assert.deepEqual([code, said.split("\n").sort()], [0, ["{dir}/a/b/p.yml: ok", "{dir}/a/p.yaml: ok"]]);
  }
});

Deno.test("validate exits 2 and gives annotations to GitHub", async () => {
  const { code, said } = await run(
    { "p.yaml": GOOD + "sede: 1\n", "scenarios.yaml": "- id: one\n" },
    ["p.yaml"],
    "github",
  );
  assert.equal(code, 2);
  assert.equal(
    said,
    '::error file={dir}/p.yaml,line=12,col=1,title=UNKNOWN_FIELD::Unknown field "sede": did you mean "seed"?\n' +
      "::error file={dir}/scenarios.yaml,line=1,col=3,title=SCENARIO_WITHOUT_TASK::" +
      'Scenario "one" has no task: expected the prompt for the agent',
  );
});

Deno.test("validate gives JSON with every file and its diagnostics", async () => {
  const { code, said } = await run(
    { "p.yaml": GOOD, "q.yaml": "", "scenarios.yaml": SCENARIOS },
    ["p.yaml", "q.yaml"],
    "json",
  );
  const { ok, files } = JSON.parse(said);
  assert.deepEqual([
    code,
    ok,
    files.map((file: { diagnostics: { code: string }[] }) => file.diagnostics.map((d) => d.code)),
  ], [
    2,
    false,
    [[], ["EMPTY_FILE"]],
  ]);
});

Deno.test("validate checks whole pipelines in Markdown at their own lines, and not the paths that they name", async () => {
  const readme = `# Title\n\n\`\`\`yaml\nservers: {}\n\`\`\`\n\n\`\`\`yaml\n${GOOD}trian: {}\n\`\`\`\n`;
  const { code, said } = await run({ "README.md": readme }, ["README.md"]);
  assert.equal(code, 2);
  assert.equal(
    said,
    [
      '{dir}/README.md:19:1 error[UNKNOWN_FIELD] Unknown field "trian": did you mean "train"?',
      "  19 | trian: {}",
      "     | ^^^^^",
    ].join("\n"),
  );
});

Deno.test("validate says which pattern matches nothing", async () => {
  await assert.rejects(run({}, ["*.yaml"]), (error) => error instanceof HoneError && error.code === "NO_SUCH_FILES");
});

Deno.test("pipelineFences() keeps line numbers and leaves other fences out", () => {
  const text = "a\n```yaml\nname: x\nstages: []\n```\n```ts\nname: y\nstages: []\n```\n";
  assert.deepEqual(pipelineFences(text), ["\n\nname: x\nstages: []"]);
});
