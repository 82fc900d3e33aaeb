import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { render } from "../../pipeline/diagnostics/mod.ts";
import type { Catalog, Scenario, ToolSpec } from "@hone/hone";
import { conformance, fakeContext, fakeSourceTools } from "@hone/hone/testing";
import { asPart } from "../../pipeline/scenario/parts.ts";
import answer from "../judge/answer.ts";
import calls from "../judge/calls.ts";
import state from "../judge/state.ts";
import plugin from "./file.ts";

conformance(plugin, { with: { path: join(import.meta.dirname!, "../../tests/cases/scenarios.yaml") } });

const tool = (name: string): ToolSpec => ({
  server: "files",
  name,
  model_name: name,
  description: "",
  input_schema: {},
  annotations: {},
  tokens: 1,
});
const catalog: Catalog = { servers: [], tools: [tool("read_text_file"), tool("write_file")], schema_hash: "" };

const parts = [state, answer, calls].map((judge) => asPart(judge, true)!);

/** Reads files by name; `path` of the settings is all of them. */
async function produce(files: Record<string, string>, settings = {}): Promise<Scenario[]> {
  const root = await mkdtemp(join(tmpdir(), "hone-scenarios-"));
  try {
    for (const [name, text] of Object.entries(files)) await writeFile(join(root, name), text);
    const config = plugin.config.parse({ path: Object.keys(files), ...settings });
    const role = await plugin.create(fakeContext(config, { base_dir: root }));
    return await Array.fromAsync(role.produce(catalog, parts, fakeSourceTools()));
  } finally {
    await rm(root, { recursive: true });
  }
}

/** All problems of files, as a terminal shows them. */
async function problems(files: Record<string, string>, settings = {}): Promise<string> {
  try {
    await produce(files, settings);
  } catch (error) {
    const said = render((error as { diagnostics: Parameters<typeof render>[0] }).diagnostics);
    return said.replaceAll(/\/\S*\/hone-scenarios-[^/]+\//g, "");
  }
  return "";
}

Deno.test("produce() accepts a list of tasks and makes the rest up", async () => {
  const made = { split: "train", tags: [], checks: [] };
  const wanted = [{ ...made, id: "a-1", task: "One." }, { ...made, id: "a-2", task: "Two." }];
  assert.deepEqual(await produce({ "a.json": '[{"task": "One."}, {"task": "Two."}]' }), wanted);
  assert.deepEqual(await produce({ "a.jsonl": '// notes\n{"task": "One."}\n\n{"task": "Two."}\n' }), wanted);
  assert.deepEqual(await produce({ "a.yaml": "- task: One.\n- { task: Two. }\n" }), wanted);
  assert.deepEqual(await produce({ "a.yml": "scenarios:\n  - task: One.\n  - task: Two.\n" }), wanted);
});

Deno.test("produce() keeps everything that a scenario says", async () => {
  const scenario = {
    id: "s",
    task: "Copy it.",
    split: "heldout",
    tags: ["copy", "difficulty:hard"],
    difficulty: 0.8,
    setup: {
      fixture: "box",
      files: { "a.txt": "x" },
      directories: ["box"],
      calls: [{ tool: "write_file", arguments: {} }],
    },
    checks: [{ file: "b.txt", equals: "x" }, {
      call: { tool: "read_text_file", arguments: { path: "b.txt" } },
      contains: "x",
    }],
    answer: { equals: 3, tolerance: 0.5 },
    calls: { expected: [{ tool: "write_file", arguments: {} }], forbidden: ["read_text_file"], max: 2 },
    solution: { calls: [{ tool: "write_file", arguments: { path: "b.txt" } }], answer: "Done." },
    tools: ["write_file"],
  };
  assert.deepEqual(await produce({ "a.json": JSON.stringify([{ ...scenario, tags: ["copy"] }]) }), [scenario]);
  const [validation] = await produce({ "b.json": '[{"task": "x"}]' }, { split: "validation" });
  assert.equal(validation!.split, "validation");
});

Deno.test("produce() reads CSV: a field a column, fields of fields with a dot, lists and maps as JSON", async () => {
  const rows = [
    "id,task,split,tags,setup.files,checks,answer.equals,answer.tolerance,solution.calls",
    'one,"Copy ""a.txt"",\r\nplease.",heldout,"copy, files","{""a.txt"":""x""}","[{""file"":""b.txt""}]",,,"[{""tool"":""write_file""}]"',
    "",
    '2,"Say 3.",,,,,3,0.5,',
    "3,Say maple.,,,,,maple,,",
  ];
  const [one, two, three] = await produce({ "s.csv": "\ufeff" + rows.join("\r\n") });
  assert.deepEqual(one, {
    id: "one",
    task: 'Copy "a.txt",\r\nplease.',
    split: "heldout",
    tags: ["copy", "files"],
    setup: { files: { "a.txt": "x" } },
    checks: [{ file: "b.txt" }],
    solution: { calls: [{ tool: "write_file", arguments: {} }], answer: "Done." },
  });
  assert.deepEqual([two!.id, two!.answer], ["2", { equals: 3, tolerance: 0.5 }]);
  assert.deepEqual(three!.answer, { equals: "maple" });
  assert.deepEqual((await produce({ "a.csv": "task\nOne.\n" })).map(({ id, task }) => [id, task]), [["a-1", "One."]]);
});

Deno.test("produce() reports all problems of a YAML file at once, each at its place", async () => {
  const yaml = `- id: one
  task: Fine.
- id: two
  checks:
    - { file: a.txt, equal: x }
    - { file: ../b.txt }
- id: one
  task: Again.
  solution:
    calls: [{ tool: write_fil, arguments: {} }]
- task: Check it.
  checks:
    - call: { tool: query }
    - {}
    - { file: a.txt, matches: "(" }
`;
  assert.equal(await problems({ "s.yaml": yaml }), WANTED_YAML);
});

Deno.test("produce() names the line of JSON lines", async () => {
  const text =
    '{"id": "a", "task": "One."}\n{"id": "b"}\n{"id": "a", "task": "Two.", "tags": "x"}\n{oops\n{"id": "a", "task": "3"}\n[]';
  assert.equal(await problems({ "s.jsonl": text }), WANTED_JSONL);
});

Deno.test("produce() refuses files that hold no scenarios", async () => {
  assert.equal(await problems({ "s.yaml": "a: [" }), WANTED_SYNTAX);
  assert.match(
    await problems({ "s.yaml": "" }),
    /^s\.yaml:1:1 error\[SCENARIOS_EMPTY\] "s\.yaml" has no scenarios: expected at least one/,
  );
  assert.match(
    await problems({ "s.json": "{}" }),
    /SCENARIOS_NOT_A_LIST\] Scenarios are a map: expected a list of scenarios/,
  );
  assert.match(
    await problems({ "s.txt": "task" }),
    /SCENARIOS_FORMAT\] Cannot read scenarios "s\.txt": expected a \.yaml, \.yml, \.json, \.jsonl or \.csv file/,
  );
  assert.match(
    await problems({ "s.csv": "task\n" }),
    /^s\.csv:1:1 error\[SCENARIOS_EMPTY\] "s\.csv" has no scenarios: expected at least one/,
  );
  assert.match(
    await problems({}, { path: "./nowhere.yaml" }),
    /SCENARIOS_UNREADABLE\] Cannot read scenarios "nowhere\.yaml": no such file/,
  );
});

Deno.test("produce() says which tools scenarios may name", async () => {
  const yaml = "- { task: Forget it., checks: [{ call: { tool: delete_everything } }] }\n";
  assert.match(
    await problems({ "s.yaml": yaml }),
    /hint: tools: [a-z_, ]+; those that a server's `tools` or `deny` leaves out are not among them$/,
  );
});

Deno.test("produce() finds ids used twice across files", async () => {
  const file = '[{"id": "x", "task": "t"}]';
  assert.match(
    await problems({ "a.json": file, "b.json": file }),
    /^b\.json:1:9 error\[DUPLICATE_SCENARIO\] Scenario id "x" is taken by a\.json:1: ids must be unique/,
  );
});

const WANTED_YAML =
  `s.yaml:3:3 error[SCENARIO_WITHOUT_TASK] Scenario "two" has no task: expected the prompt for the agent
   3 | - id: two
     |   ^

s.yaml:5:22 error[UNKNOWN_FIELD] Unknown field "equal" in [1].checks[0]: did you mean "equals"?
   5 |     - { file: a.txt, equal: x }
     |                      ^^^^^

s.yaml:6:15 error[INVALID_VALUE] [1].checks[1].file is "../b.txt": must be a path below the rollout's own folder
   6 |     - { file: ../b.txt }
     |               ^^^^^^^^

s.yaml:7:7 error[DUPLICATE_SCENARIO] Scenario id "one" is taken by s.yaml:1: ids must be unique
   7 | - id: one
     |       ^^^

s.yaml:10:21 error[SCENARIO_UNKNOWN_TOOL] Scenario "one" names tool "write_fil" in solution, which no server has: did you mean "write_file"?
  10 |     calls: [{ tool: write_fil, arguments: {} }]
     |                     ^^^^^^^^^

s.yaml:14:7 error[INVALID_VALUE] [3].checks[1] is a map: must have exactly one of file, absent, directory, call and sql
  14 |     - {}
     |       ^^

s.yaml:15:31 error[INVALID_VALUE] [3].checks[2].matches is "(": must be a regular expression
  15 |     - { file: a.txt, matches: "(" }
     |                               ^^^`;

const WANTED_JSONL =
  `s.jsonl:2:1 error[SCENARIO_WITHOUT_TASK] Scenario "b" has no task: expected the prompt for the agent
   2 | {"id": "b"}
     | ^

s.jsonl:3:37 error[WRONG_TYPE] tags is "x": expected a list
   3 | {"id": "a", "task": "Two.", "tags": "x"}
     |                                     ^

s.jsonl:4:1 error[SCENARIOS_SYNTAX] Cannot read the JSON: Expected property name or '}' in JSON at position 1 (line 1 column 2)
   4 | {oops
     | ^

s.jsonl:5:8 error[DUPLICATE_SCENARIO] Scenario id "a" is taken by s.jsonl:1: ids must be unique
   5 | {"id": "a", "task": "3"}
     |        ^

s.jsonl:6:1 error[NOT_A_SCENARIO] Scenario s-5 is a list: expected a map of fields
   6 | []
     | ^
  hint: { "task": "…" } is enough`;

const WANTED_SYNTAX =
  `s.yaml:1:5 error[YAML_SYNTAX] Cannot read the YAML: Flow sequence in block collection must be sufficiently indented and end with a ]
   1 | a: [
     |     ^`;
