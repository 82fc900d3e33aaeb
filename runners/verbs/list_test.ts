import assert from "node:assert/strict";
import { HoneError } from "../../pipeline/diagnostics/mod.ts";
import { builtins } from "../../plugins/mod.ts";
import { runVerb } from "../../tests/fixtures/small_run.ts";
import list from "./list.ts";

async function run(positional: string[], format = "text"): Promise<string> {
  const { code, out } = await runVerb(list, { positional, format });
  assert.equal(code, 0);
  return out.join("\n");
}

Deno.test("list shows every built-in plugin with its summary", async () => {
  const lines = (await run([])).split("\n");
  assert.deepEqual(lines.map((line) => line.split(" ")[0]), Object.keys(builtins));
  for (const line of lines) assert.match(line, /^\S+ +[A-Z].*\.$/);
});

Deno.test("list shows the plugins of one kind", async () => {
  const uses = JSON.parse(await run(["judge"], "json")).map(({ use }: { use: string }) => use);
  assert.deepEqual(uses, Object.keys(builtins).filter((use) => use.startsWith("judge/")));
  assert.deepEqual(uses.slice(0, 3), ["judge/state", "judge/calls", "judge/answer"]);
});

Deno.test("list shows one plugin's settings and examples", async () => {
  const text = await run(["scenario-source/file"]);
  assert.match(text, /^scenario-source\/file \(scenario-source\)\n/);
  assert.match(text, /\nsettings:\n {2}path +\S.* \(string \| list of string; required\)\n/);
  assert.match(text, /\n- use: scenario-source\/file\n {2}with:\n {4}path: /);
});

Deno.test("list says which plugin was meant", async () => {
  await assert.rejects(
    run(["judge/stat"]),
    (error) =>
      error instanceof HoneError && error.message === 'Unknown plugin "judge/stat": did you mean "judge/state"?',
  );
});
