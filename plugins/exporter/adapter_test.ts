import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExportArgs, JsonObject, Verdict } from "@hone/hone";
import { conformance, fakeContext } from "@hone/hone/testing";
import plugin from "./adapter.ts";

conformance(plugin);

const interval = { mean: 0.5, low: 0.36, high: 0.64, n: 48 };

function args(dir: string, proof: JsonObject, policy = "tuned"): ExportArgs {
  return {
    dir,
    policy: {
      name: policy,
      version: 7,
      base_url: "http://127.0.0.1:1/v1",
      model: "policy-000007",
      api_key: "secret-key",
      tokens: "exact",
      rollout_handles: true,
      tool_format: "json",
      context_tokens: 2048,
      sampling: { temperature: 1, top_p: 1, max_tokens: 96 },
    },
    agent: {
      system_prompt: "Use the tools.",
      examples: [],
      max_turns: 5,
      max_tokens: 96,
      temperature: 1,
      tool_format: "auto",
      complete_task: false,
      max_result_chars: 4000,
      max_invalid_calls: 3,
      max_repeated_calls: 3,
      turn_timeout_secs: 60,
      tool_timeout_secs: 30,
      rollout_timeout_secs: 60,
    },
    catalog: {
      servers: [{
        name: "files",
        transport: "stdio",
        protocol: "2025-11-25",
        implementation: { name: "file|system", version: "1.0" },
        resources: [],
        resource_templates: [],
        prompts: [],
      }],
      tools: [{
        server: "files",
        name: "write_file",
        model_name: "write_file",
        description: "Writes a file. Overwrites.",
        input_schema: { type: "object", properties: { path: { type: "string" } }, required: ["path"] },
        annotations: {},
        tokens: 12,
      }],
      schema_hash: "abc123",
    },
    verdict: {
      schema: "verdict.v1",
      run: "r",
      run_id: "r-1",
      split: "heldout",
      sampling: "greedy",
      scenarios: 48,
      tries: 1,
      policies: {
        base: { success: { ...interval, mean: 0 } },
        tuned: { success: interval },
      } as unknown as Verdict["policies"],
      comparisons: [],
      difference: { policy: "tuned", against: "base", ...interval, scenarios: 48 },
      outcome: "improved",
      needed_scenarios: null,
      by_tag: [],
      by_tools: [],
      worse: [],
      sentence: "tuned is better.",
      notes: [],
    },
    model: { id: "smollm2-135m", path: "/home/me/weights", template_sha256: "f00d", eos_token_ids: [2] },
    signal: new AbortController().signal,
    weights: async ({ format, dir: target }) => {
      assert.equal(format, "peft");
      await mkdir(target, { recursive: true });
      await writeFile(join(target, "adapter_config.json"), "{}");
      return { dir: target, files: [{ name: "adapter_config.json", bytes: 2, sha256: "00" }], proof };
    },
  };
}

async function withFolder(work: (dir: string) => Promise<void>) {
  const home = await mkdtemp(join(tmpdir(), "hone-adapter-"));
  try {
    await work(join(home, "adapter"));
  } finally {
    await rm(home, { recursive: true });
  }
}

Deno.test("export() writes hone.json with prompt, tools, stop ids, hashes, verdict and proof, and no secret", () =>
  withFolder(async (dir) => {
    const role = await plugin.create(fakeContext({}));
    const proof = { changed_tensors: 14, max_abs_delta: 0.01, logprob_max_diff: 1e-5 };
    assert.deepEqual(await role.export(args(dir, proof)), { dir, proof });
    assert.deepEqual((await readdir(dir)).sort(), ["README.md", "adapter_config.json", "hone.json"]);
    const text = await readFile(join(dir, "hone.json"), "utf8");
    assert.ok(!text.includes("secret-key") && !text.includes("/home/me"));
    const facts = JSON.parse(text);
    assert.deepEqual(facts.base_model, { id: "smollm2-135m", weights_sha256: null });
    assert.equal(facts.system_prompt, "Use the tools.");
    assert.match(facts.tools_text, /^Tools:\nwrite_file\(path.*\): Writes a file/);
    assert.deepEqual(facts.stop_token_ids, [2]);
    assert.equal(facts.template_sha256, "f00d");
    assert.equal(facts.catalog_schema_hash, "abc123");
    assert.deepEqual(facts.success[1], { policy: "tuned", ...interval });
    assert.deepEqual(facts.proof, proof);
  }));

Deno.test("export() hashes the base model's weight files, in order of their names", () =>
  withFolder(async (dir) => {
    const path = join(dir, "../model");
    await mkdir(path);
    for (const [name, text] of [["b.safetensors", "two"], ["a.safetensors", "one"], ["config.json", "{}"]]) {
      await writeFile(join(path, name!), text!);
    }
    const role = await plugin.create(fakeContext({}));
    const given = args(dir, { changed_tensors: 14 });
    await role.export({ ...given, model: { ...given.model, path } });
    const facts = JSON.parse(await readFile(join(dir, "hone.json"), "utf8"));
    assert.equal(facts.base_model.weights_sha256, createHash("sha256").update("onetwo").digest("hex"));
    await role.export({ ...given, model: { ...given.model, path: join(path, "a.safetensors") } });
    const single = JSON.parse(await readFile(join(dir, "hone.json"), "utf8"));
    assert.equal(single.base_model.weights_sha256, createHash("sha256").update("one").digest("hex"));
  }));

Deno.test("export() writes a model card whose table has every policy's success", () =>
  withFolder(async (dir) => {
    const role = await plugin.create(fakeContext({ license: "apache-2.0" }));
    await role.export(args(dir, { changed_tensors: 14 }));
    const card = await readFile(join(dir, "README.md"), "utf8");
    assert.ok(card.startsWith('---\nbase_model: "smollm2-135m"\n'));
    assert.match(card, /^license: "apache-2.0"$/m);
    assert.match(card, /^\| base \| 0\.0 % \| 36\.0 % to 64\.0 % \| 48 \|\n\| tuned \| 50\.0 % /m);
    assert.match(card, /file\\\|system 1\.0/);
    assert.match(card, /- changed\\_tensors: 14/);
  }));

Deno.test("export() names the base model on the card as the hub does, and never by a folder of this machine", () =>
  withFolder(async (dir) => {
    const context = fakeContext({});
    const role = await plugin.create(context);
    const given = args(dir, { changed_tensors: 14 });
    const hub_id = "HuggingFaceTB/SmolLM2-135M-Instruct";
    await role.export({ ...given, model: { ...given.model, hub_id } });
    const card = await readFile(join(dir, "README.md"), "utf8");
    assert.ok(card.startsWith(`---\nbase_model: "${hub_id}"\n`));
    assert.ok(card.includes(`# tuned: a LoRA adapter for ${hub_id}\n`));
    const { base_model, verdict } = JSON.parse(await readFile(join(dir, "hone.json"), "utf8"));
    assert.deepEqual([base_model.id, base_model.hub_id], ["smollm2-135m", hub_id]);
    assert.equal(verdict.run_id, "r-1");
    assert.equal(context.lines.at(-1), `info: the LoRA weights of tuned are in ${dir}`);
    await role.export({ ...given, model: { id: "/home/me/models/mine", hub_id: null } });
    const local = await readFile(join(dir, "README.md"), "utf8");
    assert.ok(local.startsWith('---\nbase_model: "mine"\n') && !local.includes("/home/me"), local);
  }));

Deno.test("export() says so in the log and on the card when the adapter changes nothing", () =>
  withFolder(async (dir) => {
    const context = fakeContext({});
    const role = await plugin.create(context);
    await role.export(args(dir, { changed_tensors: 0 }));
    assert.equal(
      context.lines[0],
      "warn: the adapter of tuned equals the base model: no training step had a learning signal",
    );
    assert.match(
      await readFile(join(dir, "README.md"), "utf8"),
      /^This adapter has no effect: it equals the base model\.$/m,
    );
    await role.export(args(dir, { changed_tensors: 1 }));
    assert.doesNotMatch(await readFile(join(dir, "README.md"), "utf8"), /changes nothing/);
  }));
