import assert from "node:assert/strict";
import type { JsonObject } from "../events.ts";
import { readReply, repairText, withSchema } from "./reply_json.ts";

const SCORE: JsonObject = { type: "object", properties: { score: { type: "number" } }, required: ["score"] };
const LIST: JsonObject = { type: "array", items: { type: "string" } };
const read = (text: string, schema = SCORE) => readReply({ text }, schema);

Deno.test("readReply() finds the one value that was meant: bare, fenced, or with prose around it", () => {
  const value = { score: 1 };
  for (
    const text of [
      '{"score": 1}',
      ' \n{"score":1}\n ',
      '```json\n{"score": 1}\n```',
      'Here it is:\n```\n{"score": 1}\n```\nI hope that helps.',
      'The set {a, b} and [1] aside, I say {"score": 1}, as {you} asked.',
      'I say {"score": 1} and once more {"score":1.0}',
      'Like {"score": "high"} or {"other": 2}, but really {"score": 1}',
    ]
  ) assert.deepEqual(read(text), { value }, text);
  assert.deepEqual(read('Here: ["a", "b"].', LIST), { value: ["a", "b"] });
  assert.deepEqual(readReply({ text: "0.5" }, { type: "number" }), { value: 0.5 });
  assert.deepEqual(readReply({ text: "ignored", json: { score: 2 } }, SCORE), { value: { score: 2 } });
});

Deno.test("readReply() says what is wrong with a reply that is none", () => {
  const cut = { problem: "its JSON is cut off: the brackets do not close" };
  assert.deepEqual(read("Very good!"), { problem: "there is no JSON in it", none: true });
  assert.deepEqual(read(""), { problem: "there is no JSON in it", none: true });
  assert.deepEqual(read('{"score": 1'), cut);
  // What stands inside half an object is not the reply.
  assert.deepEqual(read('{"why": {"score": 1}, "sco'), cut);
  assert.deepEqual(read('Here: ["a", ["b"]', LIST), cut);
  assert.deepEqual(read('{"score": high}'), {
    problem: `it is not JSON: Unexpected token 'h', "{"score": high}" is not valid JSON`,
  });
  assert.deepEqual(read('{"score": "1"}'), { problem: '"score" must be number' });
  assert.deepEqual(read("[1]"), { problem: "the reply must be object" });
  assert.deepEqual(read('First {"score": 1}, then {"score": 2}'), {
    problem: "there are 2 JSON values in it, expected one",
  });
});

Deno.test("readReply() refuses an object that has a key twice: JSON.parse would keep the last without a word", () => {
  const twice = { problem: 'an object in it has the key "score" twice' };
  assert.deepEqual(read('{"score": 1, "score": 0}'), twice);
  assert.deepEqual(read('{"score": 1, "why": {"score": 2}, "sc\\u006fre": 0}'), twice);
  assert.deepEqual(read('Well:\n```\n{"score": 1, "score" : 0}\n```'), twice);
  assert.deepEqual(read('I say {"score": 1, "score": 1}.'), twice);
  assert.deepEqual(read('{"why": "{\\"score\\": 1}", "list": [{"score": 1}, {"score": 2}], "score": 1}'), {
    value: { why: '{"score": 1}', list: [{ score: 1 }, { score: 2 }], score: 1 },
  });
});

Deno.test("readReply() takes time in proportion to a reply that means harm", () => {
  const nasty = ['{"', "[", '{"a":[', "```\n", '{"a":1} ', "{ ", '{"\\'].map((part) => part.repeat(200_000));
  for (const text of nasty) assert.ok("problem" in read(text) || "value" in read(text));
  for (const text of nasty) assert.ok("problem" in read(text, LIST));
});

Deno.test("withSchema() puts the schema at the end of what the user says, or into a message of its own", () => {
  const words = "Answer with one JSON value and nothing else: no prose, no code fence. " +
    `It must be valid against this JSON Schema:\n${JSON.stringify(LIST)}`;
  const asked = [{ role: "user" as const, content: "Which?" }];
  assert.deepEqual(withSchema(asked, LIST), [{ role: "user", content: `Which?\n\n${words}` }]);
  const answered = [...asked, { role: "assistant" as const, content: "These." }];
  assert.deepEqual(withSchema(answered, LIST), [...answered, { role: "user", content: words }]);
  assert.equal(repairText('"score" is missing'), 'That reply cannot be used: "score" is missing. Answer again.');
});
