import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import completion from "./completion.ts";
import { runVerb } from "../../tests/fixtures/small_run.ts";
import { VERBS } from "./mod.ts";

async function script(shell: string): Promise<string> {
  return (await runVerb(completion, { positional: [shell] })).out.join("\n");
}

Deno.test("completion bash completes verbs, flags and values in a real bash", async () => {
  const ask = (...words: string[]) =>
    `COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}; _hone; ` +
    `echo "\${COMPREPLY[*]}"\n`;
  const program = (await script("bash")) + "\n" + ask("hone", "eval") + ask("hone", "evaluate", "--spl") +
    ask("hone", "evaluate", "--split", "") + ask("hone", "validate", "--format", "g") + ask("hone", "sc") +
    ask("hone", "scenarios", "c") +
    ask("hone", "scenarios", "check", "--spl") + ask("hone", "scenarios", "check", "--split", "v");
  const { stdout, stderr } = spawnSync("bash", ["-c", program], { encoding: "utf8", cwd: "/" });
  assert.equal(stderr, "");
  assert.equal(stdout, "evaluate eval\n--split\nheldout validation\ngithub\nscenarios\ncheck\n--split\nvalidation\n");
});

Deno.test("completion zsh and fish name every verb, and quote what descriptions contain", async () => {
  for (const shell of ["zsh", "fish"]) {
    const text = await script(shell);
    for (const word of VERBS.flatMap(({ name }) => name.split(" "))) {
      assert.ok(text.includes(word), `${shell}: ${word}`);
    }
    assert.equal(text.replaceAll("'\\''", "").split("'").length % 2, 1, `${shell}: quotes are closed`);
  }
});

Deno.test("completion refuses a shell that it does not know", async () => {
  await assert.rejects(script("tcsh"), { message: 'Cannot use "tcsh" for <shell>: expected one of bash, zsh, fish' });
});
