import assert from "node:assert/strict";
import type { ChatMessage } from "../events.ts";
import type { Agent, Policy, ToolFormat } from "../plugin.ts";
import { stream } from "../common/random.ts";
import { History, shortenText } from "./history.ts";

function history(tool_format: ToolFormat, context_tokens: number, max_history_chars?: number): History {
  const sampling = { temperature: 1, top_p: 1, max_tokens: 50 };
  const policy = { tool_format, context_tokens, sampling } as Policy;
  return new History(policy, { max_tokens: 50, max_history_chars } as Agent, []);
}

/** One turn that calls tools, and what they answer. */
function turn(into: History, index: number, texts: string[], format: ToolFormat): void {
  const calls = texts.map((_, number) => ({
    id: `c${index}-${number}`,
    type: "function" as const,
    function: { name: "read", arguments: `{"path":"${index}"}` },
  }));
  const native = format === "native";
  into.add([{ role: "assistant", content: native ? "" : "call", ...(native && { tool_calls: calls }) }]);
  into.addResults(texts.map((text, number) => ({
    id: calls[number]!.id,
    outcome: number % 3 === 2 ? "tool_error" as const : "ok" as const,
    text,
  })));
}

const chars = (messages: ChatMessage[]) =>
  messages.reduce(
    (sum, { content, tool_calls }) =>
      sum + content.length +
      (tool_calls ?? []).reduce((n, { function: f }) => n + f.name.length + f.arguments.length, 0),
    0,
  );

Deno.test("shortenText() keeps the beginning, says what was left out, and never grows", () => {
  assert.equal(shortenText("x".repeat(300), 200), `${"x".repeat(200)}\n[… 100 characters left out …]`);
  assert.equal(shortenText("x".repeat(300), 0), "[… 300 characters left out …]");
  assert.equal(shortenText("x".repeat(210), 200), "x".repeat(210));
  assert.equal(shortenText("short", 0), "short");
  assert.equal(shortenText("🍁".repeat(60), 3), "🍁\n[… 118 characters left out …]");
});

Deno.test("fit() shortens the oldest results first, then leaves them out, down to below the limit", () => {
  const told = history("native", 0, 1500);
  told.add([{ role: "system", content: "s".repeat(80) }, { role: "user", content: "task" }]);
  for (const index of [0, 1, 2]) turn(told, index, [`${index}`.repeat(400)], "native");
  told.fit();
  assert.deepEqual(told.takeShortened(), []);
  turn(told, 3, ["3".repeat(400)], "native");
  told.fit();
  assert.deepEqual(told.takeShortened(), [
    { message: 3, from: 400, to: 29 },
    { message: 5, from: 400, to: 230 },
    { message: 7, from: 400, to: 230 },
  ]);
  assert.equal(chars(told.messages), 1037);
  turn(told, 4, ["4".repeat(900)], "native");
  told.fit();
  assert.deepEqual(told.takeShortened(), [
    { message: 5, from: 230, to: 29 },
    { message: 7, from: 230, to: 29 },
    { message: 9, from: 400, to: 29 },
  ]);
  assert.equal(told.messages[9]!.content, "[… 400 characters left out …]");
  assert.equal(told.messages[11]!.content, "4".repeat(900));
});

Deno.test("fit() takes the limit from the context and from what the endpoint counts", () => {
  const fits = (prompt_tokens: number) => {
    const told = history("json", 400);
    told.add([{ role: "user", content: "x".repeat(100) }]);
    told.answered(prompt_tokens);
    turn(told, 0, ["y".repeat(550)], "json");
    turn(told, 1, ["z"], "json");
    told.fit();
    return told.takeShortened().length === 0;
  };
  assert.ok(fits(0), "four characters a token where nobody counts: 350 tokens are 1400 characters");
  assert.ok(fits(50), "two: 700 characters, and there are 675");
  assert.ok(!fits(100), "one: 350 characters");
});

Deno.test("refused() shortens a few times, remembers what was too long, and gives up where nothing is left", () => {
  const told = history("hermes", 0);
  told.add([{ role: "user", content: "task" }]);
  for (const index of [0, 1, 2]) turn(told, index, ["r".repeat(800)], "hermes");
  told.fit();
  assert.ok(told.refused());
  const once = chars(told.messages);
  assert.ok(once < 2400 * 0.8);
  turn(told, 3, ["r".repeat(800)], "hermes");
  told.fit();
  assert.ok(chars(told.messages) < 2400, "the next turn is not sent as long as what was refused");
  const asked = [told.refused(), told.refused(), told.refused(), told.refused()];
  assert.equal(asked.at(-1), false);
  assert.equal(history("hermes", 0).refused(), false);
});

Deno.test("fit() and refused() keep roles and ids paired, tags closed and new results whole, and never grow", () => {
  for (let seed = 0; seed < 120; seed++) {
    const format = (["native", "hermes", "json"] as const)[seed % 3]!;
    const [one, two] = [play(seed, format), play(seed, format)];
    assert.deepEqual(one, two, "the same again");
  }
});

function play(seed: number, format: ToolFormat): ChatMessage[] {
  const random = stream(seed, "history");
  const told = history(format, random() < 0.5 ? Math.floor(random() * 900) : 0, 200 + Math.floor(random() * 4000));
  const whole: ChatMessage[] = told.add([{ role: "system", content: "s" }, { role: "user", content: "task" }]).slice();
  for (let index = 0; index < 6; index++) {
    const texts = Array.from({ length: 1 + Math.floor(random() * 3) }, () => "🍁r".repeat(Math.floor(random() * 300)));
    const from = told.messages.length;
    turn(told, index, texts, format);
    whole.push(...told.messages.slice(from));
    check(told, whole, from, () => told.fit(), format);
    if (random() < 0.4) check(told, whole, from, () => void told.refused(), format);
    told.answered(random() < 0.7 ? 1 + Math.floor(chars(told.messages) / (1 + 4 * random())) : 0);
  }
  return told.messages;
}

function check(told: History, whole: ChatMessage[], last_turn: number, act: () => void, format: ToolFormat): void {
  const before = told.messages.slice();
  act();
  const shortened = new Map(told.takeShortened().map((one) => [one.message, one]));
  assert.equal(told.messages.length, whole.length);
  for (const [at, message] of told.messages.entries()) {
    const { content, ...rest } = message;
    const { content: original, ...kept } = whole[at]!;
    assert.deepEqual(rest, kept, "role, calls and ids stay");
    assert.deepEqual(
      shortened.get(at) ?? null,
      content === before[at]!.content ? null : { message: at, from: before[at]!.content.length, to: content.length },
    );
    assert.ok(content.length <= before[at]!.content.length && content.length <= original.length);
    if (at >= last_turn || message.role === "assistant" || at < 2) assert.equal(content, original);
    assert.ok(content.isWellFormed());
    if (format === "hermes") {
      assert.equal(content.split("<tool_response>").length, content.split("</tool_response>").length);
    }
  }
}
