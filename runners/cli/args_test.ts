import assert from "node:assert/strict";
import { z } from "zod";
import { HoneError } from "../../pipeline/diagnostics/mod.ts";
import call from "../verbs/call.ts";
import { parseLine } from "./args.ts";
import { flagsOf } from "../verbs/flags.ts";
import { defineVerb } from "../verbs/verb.ts";

const verb = defineVerb({
  name: "try",
  summary: "Try.",
  description: "Tries.",
  effect: "reads",
  positional: [{ name: "first", description: "One." }, {
    name: "rest",
    description: "More.",
    variadic: true,
    optional: true,
  }],
  args: z.strictObject({
    max_rows: z.int().min(1).default(10).describe("Rows."),
    mode: z.enum(["fast", "slow"]).optional().describe("How."),
    set: z.array(z.string()).default([]).describe("Values."),
    yes: z.boolean().default(false).describe("Do not ask."),
  }),
  result: z.null(),
  examples: ["hone try a"],
  run: () => Promise.resolve(null),
  text: () => "",
});

function refusal(words: string[]): string {
  try {
    parseLine(verb, words);
  } catch (error) {
    assert.ok(error instanceof HoneError);
    return error.message;
  }
  throw new assert.AssertionError({ message: `${words.join(" ")} was accepted` });
}

Deno.test("parseLine() reads numbers, repeated flags, booleans and what follows --", () => {
  const words = ["a", "--max-rows", "3", "--set", "x=1", "--set=y=2", "--yes", "--format", "json", "--", "--b"];
  assert.deepEqual(parseLine(verb, words), {
    args: { max_rows: 3, set: ["x=1", "y=2"], yes: true },
    positional: ["a", "--b"],
    format: "json",
    help: false,
  });
  assert.deepEqual(parseLine(verb, ["a", "--no-yes"]).args, { max_rows: 10, set: [], yes: false });
});

Deno.test("parseLine() asks for nothing else when help is wanted", () => {
  assert.equal(parseLine(verb, ["--help"]).help, true);
  assert.equal(parseLine(verb, ["-h"]).help, true);
});

Deno.test("parseLine() refuses values that the schema refuses, naming flag and value", () => {
  assert.match(refusal(["a", "--max-rows", "0"]), /^Cannot use "0" for --max-rows: /);
  assert.match(refusal(["a", "--max-rows", "many"]), /^Cannot use "many" for --max-rows: /);
  assert.match(refusal(["a", "--mode", "warp"]), /^Cannot use "warp" for --mode: /);
  assert.match(refusal(["a", "--mode"]), /^Cannot read the command line of try: /);
  assert.equal(refusal([]), "Cannot try: <first> is missing");
});

Deno.test("parseLine() says which flag is missing, and that a server's command goes after --", () => {
  const refused = (words: string[]) => {
    try {
      parseLine(call, words);
    } catch (error) {
      assert.ok(error instanceof HoneError);
      return [error.message, error.diagnostics[0]!.hint];
    }
  };
  assert.deepEqual(refused(["--", "npx", "-y", "some-server"]), [
    "Cannot call: --tool is missing. Name of the tool, as its server lists it.",
    "`hone discover` with the same server lists its tools.",
  ]);
  assert.deepEqual(refused(["--input", "{}", "npx", "-y", "some-server"]), [
    'Cannot tell the flags of "npx -y some-server" from those of hone: write a command after --',
    "hone call --input {} -- npx -y some-server",
  ]);
});

Deno.test("flagsOf() lists every field with its form, values and default", () => {
  assert.deepEqual(
    flagsOf(verb).map(({ name, type, multiple, value, standard }) => [name, type, multiple, value, standard]),
    [
      ["max-rows", "string", false, "integer", 10],
      ["mode", "string", false, "fast|slow", undefined],
      ["set", "string", true, "string", []],
      ["yes", "boolean", false, "boolean", false],
    ],
  );
});
