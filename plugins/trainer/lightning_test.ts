import assert from "node:assert/strict";
import { conformance } from "@hone/hone/testing";
import plugin from "./lightning.ts";
import mlx from "./mlx.ts";

conformance(plugin);

/** What is wrong with settings: each field with its message. */
function refused(settings: unknown): [string, string][] {
  return plugin.config.safeParse(settings).error?.issues.map(({ path, message }) => [path.join("."), message]) ?? [];
}

Deno.test("every setting of trainer/mlx is one of trainer/lightning, with the same default", () => {
  const own = plugin.config.parse({}) as Record<string, unknown>;
  for (const [name, value] of Object.entries(mlx.config.parse({}) as Record<string, unknown>)) {
    assert.deepEqual(own[name], name === "lora" ? { ...value as object, dropout: 0 } : value, name);
  }
  const all = { reuse_sampled_states: true, lora: { rank: 4, last_layers: 2 }, context_tokens: 512 };
  assert.deepEqual([refused(all), mlx.config.safeParse(all).success], [[], true]);
});

Deno.test("settings that contradict each other are refused, each with what to do", () => {
  assert.deepEqual(refused({ rollouts: { engine: "worker", urls: ["http://127.0.0.1:8000"] } }), [
    ["rollouts.urls", "must be left out: engine is worker"],
  ]);
  assert.deepEqual(refused({ rollouts: { urls: ["http://127.0.0.1:8000"], python: "python3", args: ["-x"] } }), [
    ["rollouts.python", "must be left out: urls name servers that run already"],
    ["rollouts.args", "must be left out: urls name servers that run already"],
  ]);
  assert.deepEqual(refused({ rollouts: { adapter_dir: "/shared", api_key_env: "KEY" } }), [
    ["rollouts.adapter_dir", "is for servers of urls, and there are none"],
    ["rollouts.api_key_env", "is for servers of urls, and there are none"],
  ]);
  assert.deepEqual(refused({ strategy: "fsdp2", rollouts: { engine: "worker" } }), [
    ["strategy", "fsdp2 cannot generate with the model that it shares out: set rollouts.engine to vllm"],
  ]);
  assert.deepEqual(refused({ quantize: "4bit", strategy: "fsdp2", rollouts: { engine: "vllm" } }), [
    ["quantize", "4bit weights cannot be shared out by fsdp2: set strategy to ddp"],
    ["rollouts.engine", "vllm cannot compute with 4bit weights: leave it out, and the trained model generates"],
  ]);
  assert.deepEqual(refused({ quantize: "4bit", rollouts: { engine: "vllm", python: "/opt/vllm/bin/python" } }), []);
  assert.deepEqual(refused({ nodes: 2 }), [
    ["nodes", 'needs launch, which starts the worker on every machine, such as [srun, "--nodes=2", "--input=0"]'],
  ]);
  assert.deepEqual(refused({ carbon: { country_iso_code: "de" } }), [
    ["carbon.country_iso_code", "must be three capital letters, such as DEU"],
  ]);
});

Deno.test("loggers have the settings of their service, and no others", () => {
  assert.deepEqual(plugin.config.parse({ loggers: [{ name: "wandb" }, { name: "csv" }] }).loggers, [
    { name: "wandb", project: "hone", offline: false },
    { name: "csv" },
  ]);
  assert.deepEqual(refused({ loggers: [{ name: "csv", project: "mine" }] }).map(([at]) => at), ["loggers.0"]);
});
