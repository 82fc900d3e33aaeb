import assert from "node:assert/strict";
import type { JsonObject, Judgement, Plugin } from "@hone/hone";
import { fakeContext, fakeJudgeArgs, fakeScenario, fakeToolCall, fakeTrajectory, fakeTurn } from "@hone/hone/testing";
import { z } from "zod";
import { quote } from "../../pipeline/diagnostics/mod.ts";
import {
  type Accepted,
  type Answer,
  anthropicStandIn,
  failure,
  type LlmStandIn,
  openaiStandIn,
} from "../../tests/fixtures/llm_endpoints.ts";
import { llmRun } from "../../tests/fixtures/llm_run.ts";
import { askedModel, promptSetting } from "./asked_model.ts";
import pairwise from "./pairwise.ts";
import rubric from "./rubric.ts";
import ruler from "./ruler.ts";

const KEY = "HONE_JUDGE_TEST_KEY";
const SECRET = "sk-judge-test-0123456789";

/** Two different attempts at one task. */
const GROUP = ["a.txt", "b.txt"].map((path, index) =>
  fakeTrajectory({
    rollout_id: `r${index}`,
    turns: [
      fakeTurn({
        text: "",
        finish_reason: "tool_calls",
        tool_calls: [{ id: "c", name: "write_file", arguments: { path } }],
      }),
      fakeTurn({ index: 1 }),
    ],
    tool_calls: [{ ...fakeToolCall("write_file", { path }), text: "written" }],
    outcome: { end: "answered", answer: "Done." },
  })
);

interface Asked {
  made: Judgement[];
  requests: Accepted[];
  refused: string[];
  calls: { outcome: string; tries: number; request: unknown }[];
  url: string;
}

/** Has a judge ask an endpoint of one API that says these, one after the other, the last one again and again. */
async function judged(
  plugin: Plugin,
  api: "openai" | "anthropic",
  says: (answers: (text: string) => Answer) => Answer[],
  settings: JsonObject = {},
  group = GROUP,
): Promise<Asked> {
  Deno.env.set(KEY, SECRET);
  const script = (_: Accepted, index: number) => {
    const all = says((text) => api === "openai" ? text : asMessage(text));
    return all[Math.min(index, all.length - 1)]!;
  };
  await using endpoint: LlmStandIn = api === "openai"
    ? openaiStandIn(script, SECRET)
    : anthropicStandIn(script, SECRET);
  await using run = await llmRun();
  try {
    const config = { endpoint: { ...endpoint.endpoint, api_key_env: KEY }, ...settings };
    const role = await (plugin as Plugin<"judge">).create(fakeContext(plugin.config.parse(config)));
    const made = await role.judge(fakeJudgeArgs({ group, scenario: fakeScenario(), llm: run.llm }));
    const { requests, refused } = endpoint;
    const { base_url } = endpoint.endpoint;
    const url = api === "openai" ? `${base_url}/chat/completions` : `${base_url}/v1/messages`;
    return { made, requests, refused, calls: run.calls, url };
  } finally {
    Deno.env.delete(KEY);
  }
}

/** A text as Anthropic's API returns it: JSON as the input of the tool, anything else as text. */
function asMessage(said: string): JsonObject {
  let content: JsonObject = { type: "text", text: said };
  try {
    content = { type: "tool_use", id: "toolu_1", name: "reply", input: JSON.parse(said) };
    if (/"score".*"score"/.test(said.replace(/\}.*/s, ""))) content = { type: "text", text: said };
  } catch {
    // not JSON
  }
  return {
    id: "msg_1",
    type: "message",
    role: "assistant",
    model: "judge-1-2026",
    content: [content],
    stop_reason: content.type === "tool_use" ? "tool_use" : "end_turn",
    stop_sequence: null,
    usage: { input_tokens: 10, output_tokens: 5 },
  };
}

const one = (score: unknown) => ({ reason: "so", score });
const JUDGES = {
  rubric: {
    plugin: rubric,
    settings: { criteria: { goal: "Is it right?" } },
    good: JSON.stringify({ goal: one(0.5) }),
    numbers: [0.5, 0.5],
    high: JSON.stringify({ goal: one(11) }),
    problem: '"goal.score" must be <= 1',
    nan: '{"goal": {"reason": "so", "score": NaN}}',
  },
  ruler: {
    plugin: ruler,
    settings: {},
    good: JSON.stringify({ attempt_1: one(0.25), attempt_2: one(1) }),
    numbers: [0.25, 1],
    high: JSON.stringify({ attempt_1: one(11), attempt_2: one(1) }),
    problem: '"attempt_1.score" must be <= 1',
    nan: '{"attempt_1": {"reason": "so", "score": NaN}, "attempt_2": {"reason": "so", "score": 1}}',
  },
  pairwise: {
    plugin: pairwise,
    settings: {},
    good: JSON.stringify({ reason: "so", better: "first" }),
    numbers: [0.5, 0.5],
    high: JSON.stringify({ reason: "so", better: "11 out of 10" }),
    problem: '"better" must be one of "first","second","tie"',
    nan: '{"reason": "so", "better": NaN}',
  },
};

for (const [name, { plugin, settings, good, numbers, high, problem, nan }] of Object.entries(JUDGES)) {
  for (const api of ["openai", "anthropic"] as const) {
    const ask = (says: (answers: (text: string) => Answer) => Answer[], more = {}) =>
      judged(plugin, api, says, { ...settings, ...more });
    const scores = ({ made }: Asked) => made.map((one) => "score" in one ? one.score : one).toSorted();

    Deno.test(`judge/${name} scores by a reply of ${api}'s API, its model and temperature in the record`, async () => {
      const asked = await ask((text) => [text(good)]);
      assert.deepEqual(scores(asked), numbers);
      assert.deepEqual(asked.refused, []);
      for (const { outcome, request } of asked.calls) {
        const { model, temperature } = request as JsonObject;
        assert.deepEqual([outcome, model, temperature], ["ok", "judge-1", 0]);
      }
    });

    Deno.test(`judge/${name} uses a reply of ${api}'s API that was repaired, or came after a 429`, async () => {
      const busy = () => failure(429, "Slow down", { "retry-after": "0" });
      for (const first of [[], [busy()]]) {
        const asked = await ask((text) => [...first, text("I'd say it is fine."), text(good)].slice(0, 3));
        assert.deepEqual(scores(asked).filter((one) => typeof one !== "number"), []);
      }
    });

    const invalid = async (says: (answers: (text: string) => Answer) => Answer[], wanted: string, more = {}) => {
      const asked = await ask(says, more);
      const why = wanted.replace("{asked}", `model "judge-1" at ${asked.url}`);
      assert.deepEqual(asked.made, GROUP.map(() => ({ invalid: `judge failed: ${why}` })));
      assert.deepEqual(asked.calls.filter(({ outcome }) => outcome === "ok"), []);
    };
    const unlike = (why: string, text: string) =>
      `Cannot use the reply of {asked}: not JSON that matches the schema (${why}); it replied ${quote(text)}`;

    Deno.test(`judge/${name} is invalid, with the cause, where ${api}'s model gives no judgement`, async () => {
      await invalid((text) => [text("Ten out of ten!")], unlike("there is no JSON in it", "Ten out of ten!"));
      await invalid((text) => [text(high)], unlike(problem, high));
      const half = good.slice(0, -3);
      await invalid((text) => [text(half)], unlike("its JSON is cut off: the brackets do not close", half));
      await invalid(
        (text) => [text(nan)],
        unlike(`it is not JSON: Unexpected token 'N', ${nanError(nan)} is not valid JSON`, nan),
      );
      const missing = Object.keys(JSON.parse(good)).map((field) => `"${field}" is missing`).join("; ");
      await invalid((text) => [text("{}")], unlike(missing, "{}"));
    });

    Deno.test(`judge/${name} is invalid where ${api}'s endpoint refuses or fails`, async () => {
      await invalid(() => [refusal(api)], "Cannot use the reply of {asked}: the model refused (I cannot judge this.)");
      await invalid(
        () => [failure(400, "model is overqualified")],
        "Cannot ask {asked}: it answered 400: test_error: model is overqualified",
      );
      // The waits between tries take seconds; what becomes of the failure is the same for all judges.
      if (name !== "rubric") return;
      await invalid(() => ["hang"], "Cannot ask {asked}: no answer within 0.05 s", { timeout_secs: 0.05 });
    });
  }
}

/** What V8 says of the place at which a text is no JSON. */
function nanError(text: string): string {
  try {
    JSON.parse(text);
  } catch (error) {
    return /, (.*) is not valid JSON/.exec((error as Error).message)![1]!;
  }
  throw new Error("it is JSON");
}

function refusal(api: "openai" | "anthropic"): JsonObject {
  const words = "I cannot judge this.";
  if (api === "anthropic") return { ...asMessage(words), stop_reason: "refusal" };
  const message = { role: "assistant", content: "", refusal: words };
  return { object: "chat.completion", model: "judge-1-2026", choices: [{ index: 0, message, finish_reason: "stop" }] };
}

Deno.test("askedModel() sends the sampling of the settings, and rethrows the reason of a judge that is stopped", async () => {
  await using endpoint = openaiStandIn(() => '{"a":"b"}');
  await using run = await llmRun();
  const settings = { endpoint: endpoint.endpoint, max_tokens: 9, timeout_secs: 60, temperature: 0.5, seed: 3 };
  const reply = z.strictObject({ a: z.string() });
  const signal = new AbortController().signal;
  assert.deepEqual(await askedModel({ llm: run.llm, signal }, settings, "?", reply), { reply: { a: "b" } });
  const { max_tokens, temperature, seed } = endpoint.requests[0]!.body;
  assert.deepEqual({ max_tokens, temperature, seed }, { max_tokens: 9, temperature: 0.5, seed: 3 });
  const stopped = AbortSignal.abort(new Error("stopped"));
  const llm = run.client.for("rubric", stopped);
  await assert.rejects(askedModel({ llm, signal: stopped }, settings, "?", reply), { message: "stopped" });
});

Deno.test("promptSetting() names every unknown placeholder and every missing one", () => {
  const prompt = promptSetting("{{a}} {{b}}", {
    a: { needed: true, shows: "the a" },
    b: { needed: false, shows: "a b" },
  });
  assert.equal(prompt.parse(undefined), "{{a}} {{b}}");
  assert.equal(prompt.parse("only {{ a }}, and {c}"), "only {{ a }}, and {c}");
  assert.deepEqual(prompt.safeParse("{{c}} {{d}}").error!.issues.map(({ message }) => message), [
    "must not contain {{c}}: expected {{a}}, {{b}}",
    "must not contain {{d}}: expected {{a}}, {{b}}",
    "must contain {{a}}: the a",
  ]);
});
