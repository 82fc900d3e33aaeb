import assert from "node:assert/strict";
import type { JsonObject } from "@hone/hone";
import { generated, withCache } from "../../../tests/fixtures/generated_run.ts";
import { openaiStandIn, type Script } from "../../../tests/fixtures/llm_endpoints.ts";

interface Message {
  role: string;
  content: string;
}

const call = (tool: string, given: object) => ({ tool, arguments_json: JSON.stringify(given) });
const read = (path: string) => call("read_text_file", { path });

/** Tasks of each kind for what the prompt says that exists: good ones, and one of each mistake. */
function tasksFor(request: string): object[] {
  const { files } = JSON.parse(request.slice("What exists: ".length).split("\n")[0]!) as {
    files: Record<string, string>;
  };
  const [[path, text]] = Object.entries(files) as [[string, string]];
  const answer = text.trim();
  if (request.includes("exactly one call")) {
    return [
      { task: `Please tell me the words in ${path}.`, calls: [read(path)], answer },
      { task: "Please tell me a made-up thing.", calls: [read(path)], answer: "forty bananas" },
      { task: "Please use what is not there.", calls: [call("delete_file", { path })], answer: "" },
      {
        task: "Please take these arguments.",
        calls: [{ tool: "read_text_file", arguments_json: "{path" }],
        answer: "",
      },
      {
        task: "Put the word kiwi into fruit.txt.",
        calls: [call("write_file", { path: "fruit.txt", content: "kiwi" })],
        answer: "",
      },
    ];
  }
  if (request.includes("two to four calls")) return [{ task: `Solve this for ${path}.`, calls: [], answer: "" }];
  if (request.includes("first call")) {
    return [
      { task: `Read nowhere.txt, or else ${path}.`, calls: [read("nowhere.txt"), read(path)], answer },
      { task: `Read ${path} and fear no failure.`, calls: [read(path)], answer },
    ];
  }
  if (request.includes("no tool must be called")) {
    return [
      { task: "What is the capital of France?", calls: [], answer: "Paris" },
      { task: "Who wrote the first book?", calls: [], answer: "Nobody knows" },
    ];
  }
  return [{ task: "Please delete it.", calls: [], answer: "Which file do you mean?" }];
}

const script: Script = ({ body }) => {
  const messages = body.messages as unknown as Message[];
  const last = messages.at(-1)!.content;
  if (last.startsWith("What exists: ")) return JSON.stringify({ tasks: tasksFor(last) });
  const turn = (given: JsonObject) => JSON.stringify({ tool: "", arguments_json: "", answer: "", ...given });
  const task = messages[1]!.content;
  if (task.startsWith("What is the capital")) return turn({ answer: "It is Paris." });
  if (task.startsWith("Who wrote")) return turn({ answer: "I cannot say." });
  const path = task.slice("Solve this for ".length, -1);
  if (messages.length === 2) return turn(read(path));
  return turn({ answer: /^Result \(ok\): ([^\n]*)/.exec(last)![1]! });
};

Deno.test("proposed() keeps what the real server shows to be right of what a model proposes", async () => {
  await using model = openaiStandIn(script);
  const overrides = {
    "stages.generate.with.model": model.endpoint as unknown as JsonObject,
    "stages.generate.with.count": 40,
  };
  await withCache(async () => {
    const tasks = await generated("files.yaml", async ({ scenarios }) => {
      const own = scenarios.filter(({ task }) =>
        / (words|kiwi|Solve|or else|fear|capital|delete it|made-up)|^Solve/.test(task)
      );
      assert.deepEqual(own.map(({ tags }) => tags).sort(), [
        ["ambiguous", "no tool"],
        ["error_recovery", "read_text_file"],
        ["multi_tool", "read_text_file"],
        ["no_tool", "no tool"],
        ["single_tool", "read_text_file"],
        ["single_tool", "write_file"],
      ]);
      const kiwi = own.find(({ task }) => task.includes("kiwi"))!;
      assert.deepEqual(kiwi.checks, [{ file: "fruit.txt", equals: "kiwi" }]);
      assert.deepEqual(own.find(({ task }) => task.includes("capital"))!.answer, { contains: "Paris" });
      return await Promise.resolve(scenarios.map(({ task }) => task));
    }, { overrides });
    assert.deepEqual(model.refused, []);
    const asked = model.requests.length;
    await generated("files.yaml", async ({ scenarios }) => {
      assert.deepEqual(await Promise.resolve(scenarios.map(({ task }) => task)), tasks);
    }, { overrides });
    assert.equal(model.requests.length, asked, "a second run asks nothing");
  });
});

Deno.test("proposed() goes on without a model that cannot be asked", async () => {
  await using model = openaiStandIn(() => "no JSON");
  const lines: string[] = [];
  const overrides = {
    "stages.generate.with.model": model.endpoint as unknown as JsonObject,
    "stages.generate.with.count": 8,
    "stages.generate.with.families": ["single_tool", "multi_tool"],
  };
  await withCache(() =>
    generated("files.yaml", ({ scenarios }) => Promise.resolve(assert.equal(scenarios.length, 8)), { overrides, lines })
  );
  assert.ok(
    lines.some((line) => /^generate: no tasks of the kind multi_tool from judge-1: /.test(line)),
    lines.join("\n"),
  );
});
