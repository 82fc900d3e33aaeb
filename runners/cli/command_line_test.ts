import assert from "node:assert/strict";
import { recordingTerminal } from "../../tests/fixtures/recording_terminal.ts";
import { main } from "./command_line.ts";
import { VERBS } from "../verbs/mod.ts";
import { VERSION } from "../../pipeline/common/version.ts";

/** Runs a command line in this process; what it wrote, and its exit code. */
async function hone(...words: string[]): Promise<{ code: number; out: string; err: string }> {
  const { terminal, said } = recordingTerminal();
  const code = await main(words, terminal);
  const text = (pieces: string[]) => pieces.map((piece) => `${piece}\n`).join("");
  return { code, out: text(said.out), err: text(said.err) };
}

Deno.test("main() refuses an unknown verb and says what was meant", async () => {
  assert.deepEqual(await hone("validte"), {
    code: 2,
    out: "",
    err: 'error[UNKNOWN_VERB] Unknown command "validte": expected a command or a .yaml file\n' +
      '  hint: did you mean "validate"?\n',
  });
  assert.match((await hone("zzzzzz")).err, /hint: `hone --help` lists the commands\.\n$/);
});

Deno.test("main() refuses an unknown flag and says what was meant", async () => {
  assert.deepEqual(await hone("run", "a.yaml", "--verbos"), {
    code: 2,
    out: "",
    err: 'error[UNKNOWN_FLAG] Unknown flag "--verbos" of run\n  hint: did you mean --verbose?\n',
  });
});

Deno.test("main() refuses missing and surplus arguments and a bad format", async () => {
  assert.equal(
    (await hone("run")).err,
    "error[MISSING_ARGUMENT] Cannot run: <pipeline> is missing\n  hint: `hone run --help` shows the usage.\n",
  );
  assert.equal(
    (await hone("run", "a.yaml", "b.yaml")).err,
    'error[EXTRA_ARGUMENT] Cannot run with "b.yaml": too many arguments\n' +
      "  hint: `hone run --help` shows the usage.\n",
  );
  assert.equal(
    (await hone("runs", "--format", "xml")).err,
    'error[BAD_VALUE] Cannot use "xml" for --format: text, json\n',
  );
});

Deno.test("main() takes a YAML path for run, and exits with 2 where there is no such file", async () => {
  const { code, err } = await hone("nowhere/pipeline.yaml");
  assert.equal(code, 2);
  assert.equal(err, 'error[FILE_NOT_FOUND] Cannot read pipeline "nowhere/pipeline.yaml": no such file\n');
});

Deno.test("main() writes a refusal to stdout as JSON when asked for JSON", async () => {
  for (const words of [["--format", "json"], ["--format=json"]]) {
    const { code, out, err } = await hone("run", "nowhere.yaml", ...words);
    assert.deepEqual([code, err], [2, ""]);
    const [diagnostic] = JSON.parse(out);
    assert.equal(diagnostic.code, "FILE_NOT_FOUND");
  }
});

Deno.test("main() prints version and general help with every verb, and exits with 0", async () => {
  assert.deepEqual(await hone("--version"), { code: 0, out: `${VERSION}\n`, err: "" });
  const { code, out, err } = await hone("--help");
  assert.deepEqual([code, err], [0, ""]);
  const width = Math.max(...VERBS.map(({ name }) => name.length));
  for (const { name, summary } of VERBS) assert.ok(out.includes(`  ${name.padEnd(width)}  ${summary}\n`), name);
  assert.deepEqual(await hone(), await hone("--help"));
});

Deno.test("main() explains every verb: its description, its examples, its flags", async () => {
  for (const { name, load } of VERBS) {
    const { default: verb } = await load();
    const { code, out } = await hone(...name.split(" "), "--help");
    assert.equal(code, 0, name);
    assert.ok(out.includes(verb.description), name);
    for (const example of verb.examples) assert.ok(out.includes(example), `${name}: ${example}`);
    assert.deepEqual(await hone("help", ...name.split(" ")), await hone(...name.split(" "), "--help"));
  }
});

Deno.test("main() lists the second words of verbs that have two, and says which there are", async () => {
  const { code, out } = await hone("scenarios", "--help");
  assert.equal(code, 0);
  assert.ok(
    out.startsWith("hone scenarios <command>\n\ncommands:\n  scenarios check     Check scenarios by trials"),
    out,
  );
  assert.deepEqual(await hone("help", "scenarios"), await hone("scenarios", "--help"));
  assert.equal(
    (await hone("scenarios")).err,
    'error[UNKNOWN_VERB] Command "scenarios" needs a second word: expected one of check, generate\n' +
      "  hint: `hone scenarios --help` lists them.\n",
  );
  assert.equal(
    (await hone("scenarios", "chek", "my.yaml")).err,
    'error[UNKNOWN_VERB] Unknown command "scenarios chek": expected "scenarios" and one of check, generate\n' +
      '  hint: did you mean "scenarios check"?\n',
  );
});

Deno.test("VERBS has the name and the summary that each verb gives itself", async () => {
  for (const { name, summary, load } of VERBS) {
    const { default: verb } = await load();
    assert.deepEqual({ name, summary }, { name: verb.name, summary: verb.summary });
    for (const example of verb.examples) assert.match(example, /(^|\W)hone\b/);
  }
});
