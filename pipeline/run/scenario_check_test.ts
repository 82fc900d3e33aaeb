import assert from "node:assert/strict";
import { trialRun } from "../../tests/fixtures/trial_run.ts";
import { checkScenarios, type ScenarioCheck } from "./scenario_check.ts";

const write = (path: string, content: string) => ({ tool: "write_file", arguments: { path, content } });
const read = (path: string) => ({ tool: "read_text_file", arguments: { path } });
const maple = { file: "tree.txt", equals: "maple" };

/** What is said of scenarios, each with the id `one` unless it has another. */
async function check(...scenarios: Record<string, unknown>[]): Promise<ScenarioCheck> {
  return await trialRun(
    scenarios.map((scenario) => ({ id: "one", ...scenario })),
    (run) => checkScenarios(run, run.scenarios),
  );
}

const said = ({ findings }: ScenarioCheck) => findings.map(({ level, code, message }) => `${level} ${code} ${message}`);

const task = 'Write "maple" to "tree.txt".';

Deno.test("checkScenarios() finds nothing wrong with scenarios whose checks notice what is written and answered", async () => {
  const checked = await check(
    { task, checks: [maple], solution: { calls: [write("tree.txt", "maple")] } },
    {
      id: "two",
      task: 'Which word is in "tree.txt"?',
      setup: { files: { "tree.txt": "maple" } },
      answer: { equals: "maple" },
      solution: { calls: [read("tree.txt")], answer: "maple" },
    },
  );
  assert.deepEqual(checked, { scenarios: 2, solutions: 2, solved: 2, trials: 7, findings: [] });
});

Deno.test("checkScenarios() says why a reference solution fails", async () => {
  const checked = await check(
    { task, checks: [maple], solution: { calls: [write("tree.txt", "oak")] } },
    { id: "two", task, checks: [maple], solution: { calls: [read("tree.txt")] } },
  );
  assert.equal(checked.solved, 0);
  const [first, second] = said(checked);
  assert.equal(
    first,
    'error SOLUTION_FAILS Its reference solution does not reach the goal: state: "tree.txt" is "oak": expected "maple"',
  );
  assert.match(
    second!,
    /^error SOLUTION_FAILS .*: state: there is no file "tree\.txt"; its call of "read_text_file" ended as tool_error: "ENOENT/,
  );
});

Deno.test("checkScenarios() finds a scenario that doing nothing satisfies", async () => {
  const checked = await check({
    task: 'Delete "tree.txt".',
    checks: [{ absent: "tree.txt" }],
    solution: { calls: [] },
  });
  assert.deepEqual(said(checked), [
    "error SCENARIO_TRIVIAL Doing nothing succeeds: an agent without any call and with an empty answer is judged " +
    "successful (state: every check passes)",
  ]);
});

Deno.test("checkScenarios() finds a value that no check looks at, in calls and in the answer", async () => {
  const checked = await check(
    { task, checks: [{ file: "tree.txt" }], solution: { calls: [write("tree.txt", "maple")] } },
    {
      id: "free",
      task: 'Write a poem to "poem.txt".',
      checks: [{ file: "poem.txt" }],
      solution: { calls: [write("poem.txt", "Leaves fall.")] },
    },
    {
      id: "answer",
      task: 'Which word is in "tree.txt"?',
      setup: { files: { "tree.txt": "maple" } },
      answer: { matches: "^[a-z]+$" },
      solution: { calls: [read("tree.txt")], answer: "maple" },
    },
  );
  assert.deepEqual(said(checked), [
    'error ARGUMENT_NOT_CHECKED The judges also accept "write_file" with content: "nbqmf"',
    'warning ARGUMENT_FREE The judges also accept "write_file" with content: "Mfbwft gbmm.", a value that the task ' +
    "does not name",
    'error ARGUMENT_NOT_CHECKED The judges also accept the closing answer "nbqmf"',
  ]);
});

Deno.test("checkScenarios() says which answers nothing supports, and which scenarios have no solution", async () => {
  const checked = await check(
    {
      task: "How many files are there?",
      answer: { equals: 42 },
      solution: { calls: [{ tool: "list_directory", arguments: { path: "." } }], answer: "There are 42 files." },
    },
    { id: "two", task, checks: [maple] },
  );
  assert.equal(checked.solved, 1);
  assert.deepEqual(said(checked), [
    'warning ANSWER_UNSUPPORTED Its reference answer "There are 42 files." is supported by no tool result, nor by task ' +
    "and setup: 42 occurs in none of them",
    "warning SCENARIO_WITHOUT_SOLUTION It has no reference solution, so that nothing shows that it can be solved",
  ]);
});

Deno.test("checkScenarios() says why a trial could not be judged", async () => {
  const checked = await check({
    task,
    setup: { calls: [read("none.txt")] },
    checks: [maple],
    solution: { calls: [write("tree.txt", "maple")] },
  });
  assert.match(
    said(checked).join("\n"),
    /^error SCENARIO_NOT_JUDGED A trial of it could not be judged: Setup call "read_text_file" of the scenario failed/,
  );
  assert.equal(checked.findings.length, 1);
});
