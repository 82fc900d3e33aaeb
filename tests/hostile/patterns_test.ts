/** Patterns that would take RegExp years: from scenario files, from servers' schemas, and from programs. @module */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { compilePattern, patternProblem, PatternTooCostly } from "../../pipeline/common/pattern.ts";
import { misfit, schemaProblem, uncheckedPatterns } from "../../pipeline/common/schema_check.ts";
import type { JsonObject, Outcome, Trajectory } from "../../pipeline/events.ts";
import { risksOf } from "../../pipeline/mcp/catalog/risks.ts";
import { toolSpec } from "../../pipeline/mcp/catalog/catalog.ts";
import { argumentProblem } from "../../pipeline/mcp/pool/arguments.ts";
import { mismatch } from "../../pipeline/scenario/match.ts";
import answer from "../../plugins/judge/answer.ts";
import { folder, hone } from "../runs/hone_process.ts";

/** Exponential or cubic in RegExp, with a text that brings it out. */
const HOSTILE: [string, string][] = [
  ["^(a+)+$", `${"a".repeat(50_000)}!`],
  ["^(a|aa)+$", `${"a".repeat(50_000)}!`],
  ["^(?:.*a){20}$", "a".repeat(18) + "b".repeat(50_000)],
  ["(x+x+)+y", "x".repeat(50_000)],
  ["^(\\w+\\s?)*$", `${"word ".repeat(10_000)}!`],
  ["\\s+$", `${" ".repeat(50_000)}x`],
  ["^([a-z]+)*@([a-z]+)*$", "a".repeat(50_000)],
];

Deno.test("a hostile `matches` of a scenario is decided at once, in text and in an answer", () => {
  for (const [matches, text] of HOSTILE) {
    assert.equal(mismatch(text, { matches }), `text that matches /${matches}/`);
    assert.equal(mismatch({ deep: [text] }, { matches: `${matches}z` }), `text that matches /${matches}z/`);
  }
});

Deno.test("judge/answer decides a hostile pattern at once", async () => {
  const role = await answer.create({
    config: answer.config.parse({}),
    stage: "answer",
    log: { debug() {}, info() {}, warn() {} },
    signal: new AbortController().signal,
    base_dir: ".",
  });
  const outcome: Outcome = { end: "answered", answer: "a".repeat(50_000) + "!b" };
  const group = [{ outcome }] as Trajectory[];
  const [judgement] = await role.judge({ group, expected: { matches: "^(A+)+$" } } as Parameters<typeof role.judge>[0]);
  assert.equal((judgement as { score: number }).score, 0);
});

Deno.test("hone validate says which patterns it does not take, and what they contain", async () => {
  await using dir = await folder();
  const patterns = ["^(?!x)", "(?<=a)b", "(a)\\1", "(", "x{1,5000}", "^maple$"];
  const scenarios = patterns.map((matches, i) => ({
    id: `s${i}`,
    task: "Do it.",
    split: "heldout",
    checks: [{ file: "a.txt", matches }],
  }));
  await writeFile(join(dir.path, "s.jsonl"), scenarios.map((one) => JSON.stringify(one)).join("\n"));
  const pipeline = join(dir.path, "pipeline.yaml");
  await writeFile(pipeline, evaluating("./s.jsonl"));
  const { code, err, out } = await hone("validate", pipeline);
  assert.equal(code, 2);
  const told = [...`${out}${err}`.matchAll(/matches is .*/g)].map(([line]) => line);
  assert.deepEqual(told, [
    'matches is "^(?!x)": must be a regular expression that can be matched in linear time: look-ahead is not supported',
    'matches is "(?<=a)b": must be a regular expression that can be matched in linear time: look-behind is not supported',
    'matches is "(a)\\\\1": must be a regular expression that can be matched in linear time: a backreference is not supported',
    'matches is "(": must be a regular expression',
    'matches is "x{1,5000}": must be a regular expression that can be matched in linear time: ' +
    "invalid repeat count: `{1,5000}` is not supported",
  ]);
});

function evaluating(path: string): string {
  return `name: bounds
agent: { endpoint: { base_url: "http://127.0.0.1:9/v1", model: none } }
servers: { files: { command: "true", args: ["\${workdir}"] } }
stages:
  - use: discoverer/mcp
  - { use: scenario-source/file, with: { path: ${path} } }
  - use: rollout/chat
  - use: judge/state
  - use: reward-shaper/weighted
ladder: []
`;
}

Deno.test("a server's schema with hostile patterns is checked at once; patterns without linear time are named", () => {
  for (const [pattern, text] of HOSTILE) {
    const schema: JsonObject = {
      type: "object",
      properties: { name: { type: "string", pattern } },
      patternProperties: { [pattern]: { type: "number" } },
    };
    assert.match(argumentProblem(schema, { name: text })!, /^"name" must match pattern/);
    assert.equal(argumentProblem(schema, { [text]: "no number" }), null, "the name of the field does not match");
  }
  const ahead: JsonObject = {
    type: "object",
    properties: { to: { type: "string", pattern: "^(?!.*\\.\\.)[a-z]+$" }, size: { type: "number" } },
  };
  assert.equal(schemaProblem(ahead), null);
  assert.equal(argumentProblem(ahead, { to: "..", size: 1 }), null, "the server decides");
  assert.equal(argumentProblem(ahead, { to: "..", size: "1" }), '"size" must be number');
  assert.deepEqual(uncheckedPatterns(ahead), ["/^(?!.*\\.\\.)[a-z]+$/: look-ahead is not supported"]);
  const tool = toolSpec("s", { name: "send", description: "Sends.", inputSchema: ahead });
  assert.deepEqual(risksOf([tool], [tool]), [
    "send: arguments are not checked against patterns of its input schema: " +
    "/^(?!.*\\.\\.)[a-z]+$/: look-ahead is not supported",
  ]);
});

Deno.test("a schema that takes time exponential in its size, or in the depth of a value, does not get it", () => {
  const fan: JsonObject = { d0: { type: "number" } };
  for (let i = 1; i <= 60; i++) fan[`d${i}`] = { allOf: [1, 2].map(() => ({ $ref: `#/$defs/d${i - 1}` })) };
  const small: JsonObject = { type: "object", $defs: fan, properties: { x: { $ref: "#/$defs/d60" } } };
  assert.equal(schemaProblem(small), "with its references it has more than 100000 parts");
  assert.equal(argumentProblem(small, { x: "no number" }), null);
  const by_name = JSON.parse(JSON.stringify(small).replaceAll("#/$defs/", "#")) as {
    $defs: Record<string, JsonObject>;
  };
  for (const [name, part] of Object.entries(by_name.$defs)) part.$anchor = name;
  assert.equal(schemaProblem(by_name as unknown as JsonObject), "with its references it has more than 100000 parts");
  const twice = { properties: { x: { $ref: "#/$defs/a" }, end: { type: "number" } } };
  const deep: JsonObject = { $defs: { a: { allOf: [twice, { ...twice }] } }, $ref: "#/$defs/a" };
  const nested = (depth: number) => {
    let value: JsonObject = { end: "no number" };
    for (let i = 0; i < depth; i++) value = { x: value };
    return value;
  };
  assert.equal(argumentProblem(deep, nested(2)), '"x.x.end" must be number');
  assert.equal(argumentProblem(deep, nested(60)), null);
  const wide: JsonObject = { properties: Object.fromEntries(Array.from({ length: 1e5 }, (_, i) => [`p${i}`, {}])) };
  assert.equal(schemaProblem(wide), "it has 100002 parts: expected at most 4000");
  const list: JsonObject = {
    $defs: { n: { type: "object", properties: { next: { $ref: "#/$defs/n" } } } },
    $ref: "#/$defs/n",
  };
  assert.equal(argumentProblem(list, { next: { next: { next: 1 } } }), '"next.next.next" must be object');
});

Deno.test("patterns that are large are refused, and costly ones do not meet long texts", () => {
  for (const pattern of ["((a{100}){100}){100}", "[a-z]{900}".repeat(20), "(".repeat(5000) + ")".repeat(5000)]) {
    assert.ok(patternProblem(pattern) !== undefined, pattern.slice(0, 40));
  }
  const costly = compilePattern("(a?){900}a{900}");
  assert.throws(() => costly.test("a".repeat(5_000_000)), PatternTooCostly);
  const schema: JsonObject = { type: "string", pattern: "(a?){900}a{900}" };
  assert.equal(misfit(schema, "a".repeat(5_000_000), { whole: "it", unknown_field: "" }), null);
});

Deno.test("patterns mean what they mean in JavaScript: white space, dot, classes, escapes, inline flags", () => {
  const texts = [
    "",
    " ",
    "\u00a0",
    "\ufeff",
    "\v",
    "\u2028",
    "a",
    "A",
    "\n",
    "\r",
    "😀",
    "é",
    "_",
    "1",
    "-",
    "/",
    "\b",
  ];
  const patterns = [
    ...["^\\s$", "^\\S$", "^[\\s]$", "^[^\\s]$", "^[\\S]$", "^[^\\S]$", "^.$", "^[.]$", "^\\.$", "^[\\b]$", "^\\w$"],
    ...["^(?i:a)$", "^(?s:.)$", "^\\u{1F600}$", "^\\u00e9$", "^[\\u00e0-\\u00ff]$", "^\\/$", "^\\p{L}$", "^[^]$", "^$"],
  ];
  for (const pattern of patterns) {
    const js = new RegExp(pattern, "u");
    for (const text of texts) {
      assert.equal(compilePattern(pattern).test(text), js.test(text), `${pattern} on ${JSON.stringify(text)}`);
    }
  }
});
