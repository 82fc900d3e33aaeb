import assert from "node:assert/strict";
import type { JsonObject } from "@hone/hone";
import { generate, generatingRun, withCache } from "../../../tests/fixtures/generated_run.ts";
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
  const settings = { count: 40, model: model.endpoint };
  await generatingRun("files.yaml", (run) =>
    withCache(async (cache_dir) => {
      const scenarios = await generate(run, settings, { cache_dir });
      const proposed = / (words|kiwi|or else|fear|capital|delete it|made-up)|^Solve/;
      const own = scenarios.filter(({ task }) => proposed.test(task));
      assert.deepEqual(own.map(({ tags }) => tags.join(" ")).sort(), [
        "ambiguous no tool",
        "error_recovery read_text_file",
        "multi_tool read_text_file",
        "no_tool no tool",
        "single_tool read_text_file",
        "single_tool write_file",
      ]);
      const kiwi = own.find(({ task }) => task.includes("kiwi"))!;
      assert.deepEqual(kiwi.checks, [{ file: "fruit.txt", equals: "kiwi" }]);
      assert.deepEqual(own.find(({ task }) => task.includes("capital"))!.answer, { contains: "Paris" });
      assert.deepEqual(model.refused, []);
      const nobody = { ask: () => Promise.reject(new Error("nobody is asked")) };
      assert.deepEqual(await generate(run, settings, { cache_dir, llm: nobody }), scenarios);
    }));
});

Deno.test("proposed() goes on without a model that cannot be asked", async () => {
  await using model = openaiStandIn(() => "no JSON");
  const settings = { count: 8, model: model.endpoint, families: ["single_tool", "multi_tool"] };
  const lines: string[] = [];
  await generatingRun("files.yaml", (run) =>
    withCache(async (cache_dir) => {
      assert.equal((await generate(run, settings, { cache_dir }, lines)).length, 8);
    }));
  const said = lines.filter((line) => line.startsWith("warn:")).map((line) => line.split(":").slice(0, 2).join(":"));
  assert.deepEqual(said, [
    "warn: no tasks of the kind single_tool from judge-1",
    "warn: no tasks of the kind multi_tool from judge-1",
  ]);
});
