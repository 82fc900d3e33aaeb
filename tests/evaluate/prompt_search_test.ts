import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import type { ChatMessage, Envelope } from "../../pipeline/events.ts";
import { runPipeline } from "../../pipeline/run/open_run.ts";
import { openRun } from "../../pipeline/store/live_run.ts";
import { builtins } from "../../plugins/mod.ts";
import evaluate from "../../runners/verbs/evaluate.ts";
import { openaiStandIn } from "../fixtures/llm_endpoints.ts";
import { scriptedEndpoint, type ScriptedReply } from "../fixtures/scripted_endpoint.ts";
import { runVerb } from "../fixtures/small_run.ts";
import { folder } from "../runs/hone_process.ts";

const FILES = {
  command: "deno",
  args: [
    "run",
    "-A",
    "--no-config",
    "--no-lock",
    "--quiet",
    "npm:@modelcontextprotocol/server-filesystem@2026.8.31",
    "${workdir}",
  ],
  tools: ["write_file", "read_text_file"],
  reset: "workdir",
};

/** Tasks to write a file, each with its solution; that of `wrong` does not reach its goal. */
function writing(split: string, count: number) {
  return Array.from({ length: count }, (_, i) => ({
    id: `${split}-${i}`,
    split,
    task: `Write "${split}${i}" to the file f${i}.txt.`,
    checks: [{ file: `f${i}.txt`, equals: `${split}${i}` }],
    solution: {
      calls: [{
        tool: "write_file",
        arguments: { path: `f${i}.txt`, content: split === "train" && i === 0 ? "" : `${split}${i}` },
      }],
      answer: "Done.",
    },
  }));
}

function questions(split: string, count: number) {
  return Array.from({ length: count }, (_, i) => ({
    id: `${split}-${i}`,
    split,
    task: `Name the word: ${split}${i}.`,
    answer: { equals: `${split}${i}` },
  }));
}

async function pipeline(dir: string, base_url: string, scenarios: unknown[], fields: Record<string, unknown>) {
  const tools = "servers" in fields;
  const whole = {
    name: "prompted",
    seed: 3,
    agent: {
      endpoint: { base_url, model: "m", context_tokens: 8192 },
      system_prompt: "You are an agent.",
      max_turns: 3,
    },
    stages: [
      ...(tools ? [{ use: "discoverer/mcp" }] : []),
      { use: "scenario-source/file", with: { path: "./tasks.yaml" } },
      { use: "rollout/chat" },
      { use: tools ? "judge/state" : "judge/answer" },
      { use: "reward-shaper/weighted" },
    ],
    ladder: ["prompt"],
    ...fields,
  };
  await writeFile(join(dir, "pipeline.yaml"), JSON.stringify(whole));
  await writeFile(join(dir, "tasks.yaml"), JSON.stringify(scenarios));
  return join(dir, "pipeline.yaml");
}

async function started(path: string, run_dir: string, options: Partial<Parameters<typeof runPipeline>[1]> = {}) {
  const loaded = await loadPipeline(path, { builtins });
  return await runPipeline(loaded, { run_dir, signal: new AbortController().signal, ...options });
}

/** Says the word alone only if the system prompt asks for short answers. */
function talkative(messages: ChatMessage[]): ScriptedReply {
  const [, word] = /word: (\w+)/.exec(messages.at(-1)!.content)!;
  return messages[0]!.content.includes("few words") ? word! : `The word is ${word}.`;
}

/** Makes the right call only after an example of one. */
function imitating(messages: ChatMessage[]): ScriptedReply {
  const task = messages.findLast(({ role, content }) => role === "user" && content.startsWith("Write "))!;
  if (messages.at(-1) !== task) return "Done.";
  const [, content, path] = /Write "(\w+)" to the file (\S+)\./.exec(task.content)!;
  const shown = messages.find(({ role }) => role === "assistant");
  if (!shown) return "I have written it.";
  const [call] = shown.tool_calls!;
  const made = {
    id: "c1",
    type: "function",
    function: { ...call!.function, arguments: JSON.stringify({ path, content }) },
  };
  return { message: { content: "", tool_calls: [made] }, finish_reason: "tool_calls" };
}

Deno.test("the prompt rung finds instructions among fixed ones, chooses on validation, and evaluate takes them up", async () => {
  await using home = await folder();
  await using model = scriptedEndpoint(({ messages }) => talkative(messages));
  const scenarios = [...questions("train", 6), ...questions("validation", 4), ...questions("heldout", 3)];
  const path = await pipeline(home.path, model.policy.base_url, scenarios, {});
  const run_dir = join(home.path, "run");
  const { status, verdict } = await started(path, run_dir);
  assert.equal(status, "completed");
  const solved = Object.entries(verdict!.policies).map(([name, { success }]) => [name, success.mean, success.n]);
  assert.deepEqual(solved, [["base", 0, 3], ["prompt", 1, 3]]);

  const stored = JSON.parse(await readFile(join(run_dir, "prompt.json"), "utf8"));
  assert.deepEqual(stored, {
    schema: "prompt.v1",
    system_prompt: "You are an agent.\n\nAnswer with the result alone, in as few words as possible.",
    examples: [],
    made_of: { instructions: "short answers", examples: [] },
    chosen_on: { split: "validation", scenarios: 4, plain: 0, found: 1 },
    // Three training scenarios for each of two prompts, four validation scenarios for each.
    rollouts: 14,
  });
  assert.match(
    await readFile(join(run_dir, "prompt.md"), "utf8"),
    /^# Prompt\n\nFound with 14 rollouts\. On 4 validation/,
  );

  const again = await runVerb(evaluate, {
    positional: [run_dir],
    args: { policy: "prompt", yes: true },
    format: "json",
  });
  const { policy, success, differences } = JSON.parse(again.out[0]!);
  assert.deepEqual([again.code, policy, success.mean, differences.length], [0, "prompt", 1, 2]);
  await using records = await openRun(run_dir);
  assert.deepEqual(await records.query("SELECT policy, made_of->>'instructions' AS how FROM prompts ORDER BY seq"), [
    { policy: "prompt-0", how: "the pipeline's own" },
    { policy: "prompt-1", how: "short answers" },
    { policy: "prompt", how: "short answers" },
  ]);
});

Deno.test("the prompt rung picks examples from replayed solutions that were judged successful, and resumes", async () => {
  await using home = await folder();
  await using model = scriptedEndpoint(({ messages }) => imitating(messages));
  const scenarios = [...writing("train", 6), ...writing("validation", 2), ...writing("heldout", 2)];
  const path = await pipeline(home.path, model.policy.base_url, scenarios, {
    servers: { files: FILES },
    prompt: { instructions: 1, examples: 2, sample: 3 },
  });
  const [whole, parts] = [join(home.path, "whole"), join(home.path, "parts")];
  assert.equal((await started(path, whole)).status, "completed");
  const prompt = JSON.parse(await readFile(join(whole, "prompt.json"), "utf8"));
  assert.deepEqual([prompt.made_of.instructions, prompt.made_of.examples.length], ["the pipeline's own", 1]);
  assert.notEqual(prompt.made_of.examples[0], "train-0");
  const roles = prompt.examples.map(({ role }: ChatMessage) => role);
  assert.deepEqual(roles, ["user", "assistant", "tool", "assistant"]);
  assert.equal(prompt.examples[1].tool_calls[0].id, prompt.examples[2].tool_call_id);

  // Stopped in the middle of the search, then in the choice.
  for (const [resume, policy, split] of [[false, "prompt-1", "train"], [true, "prompt-0", "validation"]] as const) {
    const stop = new AbortController();
    const on_event = ({ type, data }: Envelope) => {
      const done = data as { policy?: string; split?: string };
      if (type === "evaluation.completed" && done.policy === policy && done.split === split) stop.abort();
    };
    assert.equal((await started(path, parts, { resume, signal: stop.signal, on_event })).status, "interrupted");
  }
  const before = model.requests.length;
  assert.equal((await started(path, parts, { resume: true })).status, "completed");
  assert.ok(model.requests.length - before < 16, String(model.requests.length - before));
  assert.deepEqual(JSON.parse(await readFile(join(parts, "prompt.json"), "utf8")), prompt);
  const [one, other] = await Promise.all([whole, parts].map(async (dir) => {
    await using records = await openRun(dir);
    return await records.query("SELECT policy, system_prompt, examples FROM prompts ORDER BY seq");
  }));
  assert.deepEqual(other, one);
});

Deno.test("the prompt rung asks a model for instructions with the failures, within its rollouts, and goes on without it", async () => {
  await using home = await folder();
  await using model = scriptedEndpoint(({ messages }) => talkative(messages));
  await using proposer = openaiStandIn((_, index) =>
    index === 0 ? JSON.stringify({ system_prompt: "Be terse." }) : index === 1 ? "no JSON, sorry" : "still none"
  );
  const scenarios = [...questions("train", 6), ...questions("heldout", 2)];
  const path = await pipeline(home.path, model.policy.base_url, scenarios, {
    prompt: { model: proposer.endpoint, instructions: 3, examples: 0, sample: 2, rollouts: 7 },
  });
  const run_dir = join(home.path, "run");
  const lines: string[] = [];
  assert.equal((await started(path, run_dir, { on_log: (_, line) => void lines.push(line) })).status, "completed");
  const [asked] = proposer.requests;
  const material = JSON.parse((asked!.body.messages as { content: string }[])[1]!.content);
  assert.deepEqual(material.best, { system_prompt: "You are an agent.", success: 0 });
  assert.equal(material.failures.length, 2);
  assert.match(material.failures[0].attempt, /^agent: The word is train\d\.\n\(ended: answered\)$/);
  assert.ok(lines.some((line) => line.startsWith("prompt: no instructions were proposed: ")), lines.join("\n"));
  await using records = await openRun(run_dir);
  const tried = await records.query("SELECT made_of->>'instructions' AS how FROM prompts ORDER BY seq");
  assert.deepEqual(tried.map(({ how }) => how), [
    "the pipeline's own",
    `proposed by ${proposer.endpoint.model}`,
    "short answers",
    "short answers",
  ]);
  const stored = JSON.parse(await readFile(join(run_dir, "prompt.json"), "utf8"));
  assert.deepEqual([stored.rollouts, stored.chosen_on], [6, { split: "train", scenarios: 2, plain: 0, found: 1 }]);
});
