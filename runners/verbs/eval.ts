/**
 * `hone eval`: measures a model on a dataset. Writes the pipeline that this stands for, and runs it. Not to be confused
 * with `hone evaluate`, which takes a run or a pipeline file.
 * @module
 */
import { resolve } from "node:path";
import { z } from "zod";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { JsonObject } from "../../pipeline/events.ts";
import { common, dataset_flags, modelFrom, placesOf, writtenPipeline } from "./dataset_pipeline.ts";
import { type Ended, ended, endedJson, endedText } from "./ended.ts";
import { newId } from "./new_run.ts";
import { perform } from "./perform.ts";
import { defineVerb } from "./verb.ts";

/** `test` is what other systems call the held-out split. */
const SPLITS = { heldout: "heldout", test: "heldout", validation: "validation" } as const;

export default defineVerb({
  name: "eval",
  summary: "Measure a model on a dataset.",
  description:
    "Writes a pipeline that evaluates the model on a file of scenarios, says where, and runs it; nothing is trained. To " +
    "evaluate policies of a run, or of a pipeline file that exists, use `hone evaluate`.",
  effect: "runs",
  positional: [],
  args: z.strictObject({
    model: z.string().min(1).describe(
      "A Hugging Face id, a folder, or the built-in smollm2-135m; with --base-url the model's name at that endpoint.",
    ),
    base_url: z.string().optional().describe("OpenAI-compatible endpoint that serves the model, including /v1."),
    api_key_env: z.string().optional().describe("Environment variable with the endpoint's API key."),
    split: z.enum(["heldout", "test", "validation"]).default("heldout").describe(
      "Scenarios to evaluate on; also the split of scenarios that set none. test: the same as heldout.",
    ),
    tries: z.int().min(1).default(1).describe("Attempts per scenario."),
    ...dataset_flags,
  }),
  result: ended,
  examples: [
    "hone eval --model smollm2-135m --dataset tasks.json --servers mcp.json",
    "hone eval --model qwen3-4b --base-url http://127.0.0.1:8000/v1 --dataset tasks.json --mcp-url http://127.0.0.1:3000/mcp",
    "hone eval --model Qwen/Qwen3-0.6B --dataset tasks.json --judge-model claude-haiku-4-5",
  ],
  async detached() {
    const run_dir = resolve("runs", newId("eval"));
    return { run_dir, words: ["--output-dir", run_dir, "--yes"] };
  },
  async run(call): Promise<Ended> {
    const { args } = call;
    const { model, base_url, api_key_env, tries } = args;
    if (base_url === undefined && /^https?:/.test(model)) throw new HoneError(cli.model_is_address(model));
    const places = await placesOf(args, "eval");
    const split = SPLITS[args.split];
    const { fields, stages } = common(args, places, "eval", split);
    const local = base_url === undefined;
    const endpoint = { base_url, model, ...(api_key_env !== undefined && { api_key_env }) } as JsonObject;
    const pipeline: JsonObject = {
      ...fields,
      ...(local ? { model: modelFrom(places, model) } : { agent: { endpoint } }),
      stages: [...stages, ...(local ? [{ use: "trainer/mlx" }] : [])],
      ladder: [],
      evaluate: { policies: ["base"], split, tries },
    };
    const loaded = await writtenPipeline(call, places, pipeline, { trains: false });
    return await perform(loaded, call, { run_dir: places.run_dir, resume: false });
  },
  formats: { json: endedJson },
  text: endedText,
  // As with `hone evaluate`: an evaluation in which nothing was measured is no success.
  exit: ({ exit, verdict }) => exit || (verdict?.policies.base?.success.n === 0 ? 1 : 0),
});
