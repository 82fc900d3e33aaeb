import assert from "node:assert/strict";
import { importsOf, wrongArrow as wrong } from "./check_arrows.ts";

const PLUGINS = new Set(["plugins/judge/state.ts", "plugins/judge/calls.ts"]);
const wrongArrow = (file: string, specifier: string) => wrong(file, specifier, PLUGINS);

Deno.test("wrongArrow() lets arrows through that point the right way", () => {
  for (
    const [file, specifier] of [
      ["runners/verbs/run.ts", "../../plugins/mod.ts"],
      ["runners/verbs/run.ts", "../../pipeline/config/pipeline_file.ts"],
      ["plugins/mod.ts", "./judge/state.ts"],
      ["plugins/judge/state.ts", "@hone/hone"],
      ["plugins/judge/state.ts", "zod"],
      ["plugins/judge/state.ts", "./state_checks.ts"],
      ["plugins/judge/state_test.ts", "../../pipeline/testing.ts"],
      ["pipeline/run/open_run.ts", "../bus.ts"],
    ] as const
  ) assert.equal(wrongArrow(file, specifier), undefined, `${file} ${specifier}`);
});

Deno.test("wrongArrow() says why an arrow points the wrong way", () => {
  assert.equal(wrongArrow("pipeline/loader.ts", "../plugins/mod.ts"), "the core knows no plugin and no runner");
  assert.equal(wrongArrow("pipeline/run/open_run.ts", "@hone/hone"), "the core knows no plugin and no runner");
  assert.equal(wrongArrow("plugins/judge/state.ts", "./calls.ts"), "plugins never import plugins");
  assert.equal(wrongArrow("plugins/judge/state.ts", "../mod.ts"), "plugins never import plugins");
  assert.equal(
    wrongArrow("plugins/judge/state.ts", "../../pipeline/bus.ts"),
    'plugins reach the core through "@hone/hone"',
  );
  assert.equal(wrongArrow("plugins/judge/state.ts", "../../runners/verbs/verb.ts"), "plugins know no runner");
  assert.equal(
    wrongArrow("runners/verbs/run.ts", "jsr:@std/assert"),
    "imports come from npm: or node:, through the import map",
  );
});

Deno.test("importsOf() finds static, dynamic, side-effect and type imports, and none in comments", () => {
  const text = [
    'import { a } from "./a.ts";',
    'import type {\n  B,\n} from "./b.ts";',
    'export * from "./c.ts";',
    'const d = () => import("./d.ts");',
    'import "./e.ts";',
    '// import x from "./no.ts";',
  ].join("\n");
  assert.deepEqual(importsOf(text), ["./a.ts", "./b.ts", "./c.ts", "./d.ts", "./e.ts"]);
});
