import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HoneError } from "../../pipeline/diagnostics/mod.ts";
import { runVerb } from "../../tests/fixtures/small_run.ts";
import validate, { pipelineFences } from "./validate.ts";

const SCENARIOS = `- { id: one, task: Write., split: train, checks: [{ file: a.txt }] }
- { id: two, task: Write it., split: heldout, checks: [{ file: a.txt }] }
`;
const TAGGED = `- { id: one, task: Write., tags: [a, b], checks: [{ file: a.txt }] }
- { id: two, task: Write., tags: [a, a], checks: [{ file: a.txt }] }
- { id: three, task: Write., checks: [{ file: a.txt }] }
- { id: four, task: Write it., split: heldout, checks: [{ file: a.txt }] }
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

/** With a model that no earlier run on this machine used. */
const UNMEASURED = GOOD.replace("smollm2-135m", "nobody/has-run-this");

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

Deno.test("validate of one pipeline says after its first line what a run would do", async () => {
  const { code, said } = await run({ "p.yaml": UNMEASURED, "scenarios.yaml": TAGGED }, ["p.yaml"]);
  assert.equal(code, 0);
  assert.equal(
    said,
    `{dir}/p.yaml: ok
  scenarios: 4
    train: 3 (a 2, b 1)
    heldout: 1
  rollouts: 387
    evaluate base greedy: 1 rollout
    evaluate warm_start greedy: 1 rollout
    rl: 8 optimiser steps, 384 rollouts in 48 groups
    evaluate tuned greedy: 1 rollout
  judges: state 51 calls
  programs:
    files: npx \${workdir}
    trainer/mlx: its Python worker, hone_worker
  warning: split "heldout" has 1 scenario, too few for the verdict to support any claim: at least 6 are needed, and more if the gain is not large
  time: not known: no earlier run on this machine did all of this with this model`,
  );
});

Deno.test("validate gives the plan of every pipeline as JSON", async () => {
  const { said } = await run({ "p.yaml": UNMEASURED, "scenarios.yaml": TAGGED }, ["p.yaml"], "json");
  const [{ plan }] = JSON.parse(said).files;
  assert.deepEqual(plan.scenarios, [
    { split: "train", count: 3, tags: { a: 2, b: 1 } },
    { split: "heldout", count: 1, tags: {} },
  ]);
  assert.deepEqual(plan.phases[0], { name: "evaluate base greedy", groups: 1, rollouts: 1, steps: 0 });
  assert.equal(plan.warnings.length, 1);
  assert.deepEqual([plan.judges, plan.time], [[{ stage: "state", calls: 51, llm_calls: null }], null]);
});

Deno.test("validate shows control characters of scenarios, which a terminal would interpret", async () => {
  const scenarios = TAGGED.replaceAll("tags: [a", 'tags: ["a\\e[2K"').replaceAll(", b]", "]");
  const { said } = await run({ "p.yaml": UNMEASURED, "scenarios.yaml": scenarios }, ["p.yaml"]);
  assert.match(said, /train: 3 \(a\\u\{1b\}\[2K 2, a 1\)/);
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
