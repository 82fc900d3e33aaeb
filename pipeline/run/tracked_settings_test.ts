import assert from "node:assert/strict";
import { protect } from "../common/redact.ts";
import { pipeline_schema } from "../config/pipeline_schema.ts";
import { trackedSettings } from "./tracked_settings.ts";

Deno.test("trackedSettings() are flat, with the trainer's settings, and without servers, prompts and secrets", () => {
  protect(["hunter2-hunter2"]);
  const config = pipeline_schema.parse({
    name: "n",
    model: "org/hunter2-hunter2",
    agent: { system_prompt: "Be secret.", max_tokens: 64 },
    servers: { s: { command: "server", env: { API_KEY: "hunter2-hunter2" } } },
    stages: [
      {
        use: "trainer/mlx",
        with: { lora: { rank: 4, target_modules: ["q_proj", "v_proj"] }, api_key: "abc", launch: [] },
      },
      { use: "tracker/csv" },
    ],
    ladder: [],
  });
  const { "evaluate.policies": policies, seed, ...rest } = trackedSettings(config);
  assert.deepEqual(rest, {
    model: "org/[redacted]",
    stages: "trainer/mlx, tracker/csv",
    "agent.max_turns": 8,
    "agent.max_tokens": 64,
    "agent.temperature": 1,
    "evaluate.split": "heldout",
    "evaluate.tries": 1,
    "trainer.lora.rank": 4,
    "trainer.lora.target_modules": "q_proj, v_proj",
  });
  assert.deepEqual([policies, typeof seed], ["base, prompt, warm_start, tuned", "number"]);
});
