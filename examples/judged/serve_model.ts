/**
 * Serves the built-in SmolLM2-135M on 127.0.0.1, as hone's own worker does in a run, as an OpenAI-compatible endpoint for
 * a judge. As a program it says how to use it, and goes on until Ctrl-C:
 *
 *     deno run -A examples/judged/serve_model.ts
 *
 * @module
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fakeContext } from "@hone/hone/testing";
import { pipeline_schema } from "../../pipeline/config/pipeline_schema.ts";
import mlx from "../../plugins/trainer/mlx.ts";

/** A served model: its address, its name there and the key that it wants. */
export interface Served extends AsyncDisposable {
  base_url: string;
  model: string;
  api_key: string;
}

/** Starts the worker with the model. */
export async function serveModel(model = "smollm2-135m"): Promise<Served> {
  const trainer = await mlx.create(fakeContext(mlx.config.parse({})));
  if (trainer.mode !== "online") throw new Error("unreachable: trainer/mlx trains online");
  const run_dir = await mkdtemp(join(tmpdir(), "hone-served-"));
  const { agent } = pipeline_schema.parse({ name: "served", model, stages: [{ use: "trainer/mlx" }] });
  const open = {
    model,
    agent: { ...agent, examples: [] },
    seed: 7,
    run_dir,
    concurrency: 2,
    max_staleness: 0,
    fresh_optimizer: true,
  };
  const served = await trainer.open({ ...open, on_progress: () => {} });
  const { base_url, model: name, api_key = "" } = served.base;
  return {
    base_url,
    model: name,
    api_key,
    async [Symbol.asyncDispose]() {
      await served[Symbol.asyncDispose]();
      await rm(run_dir, { recursive: true, force: true });
    },
  };
}

if (import.meta.main) {
  const { base_url, model, api_key } = await serveModel();
  console.log(
    `export SMOL_KEY=${api_key}\n# endpoint: { base_url: "${base_url}", model: ${model}, api_key_env: SMOL_KEY }`,
  );
}
