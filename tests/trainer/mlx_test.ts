import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { JsonObject, OnlineTrainer, OpenOnlineArgs, Policy } from "@hone/hone";
import { complete } from "@hone/hone";
import { fakeContext } from "@hone/hone/testing";
import { writeBatch } from "../../pipeline/store/batch_file.ts";
import plugin from "../../plugins/trainer/mlx.ts";
import { writeTinyModel } from "../fixtures/tiny_model.ts";

const MESSAGES = [{ role: "user" as const, content: "say" }, { role: "assistant" as const, content: "hone" }];

/** The real trainer with its real worker on a tiny model. */
async function opened(
  work: (
    trainer: OnlineTrainer,
    dir: string,
    open: (more: Partial<OpenOnlineArgs>) => Promise<OnlineTrainer>,
  ) => Promise<void>,
) {
  const dir = await Deno.makeTempDir();
  const config = plugin.config.parse({ lora: { rank: 16, alpha: 32 } });
  const role = await plugin.create(fakeContext(config));
  assert.ok(role.mode === "online");
  const model = await writeTinyModel(join(dir, "model"));
  const agent = { temperature: 1, max_tokens: 16, tool_format: "auto" } as OpenOnlineArgs["agent"];
  const open = (more: Partial<OpenOnlineArgs>) =>
    role.open({
      model,
      agent,
      seed: 1,
      run_dir: dir,
      concurrency: 4,
      max_staleness: 0,
      fresh_optimizer: true,
      on_progress: () => {},
      ...more,
    });
  try {
    await using trainer = await open({});
    await work(trainer, dir, open);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function drained<T>(steps: AsyncGenerator<unknown, T>): Promise<T> {
  for (;;) {
    const { done, value } = await steps.next();
    if (done) return value as T;
  }
}

async function greedy(policy: Policy): Promise<string> {
  const signal = new AbortController().signal;
  const sampling = { ...policy.sampling, temperature: 0 };
  const args = { policy: { ...policy, sampling }, messages: MESSAGES.slice(0, 1), tools: [], seed: 1, max_tokens: 8 };
  return (await complete({ ...args, rollout_id: `${policy.name}-${policy.version}`, signal })).text;
}

Deno.test("trainer/mlx learns a demonstration by heart, serves it, resumes it and exports it with proof", () =>
  opened(async (trainer, dir, open) => {
    assert.equal(trainer.base.tool_format, "json");
    assert.equal(trainer.base.tokens, "exact");
    assert.notEqual(await greedy(trainer.base), "hone");
    const [shown] = await trainer.demonstrate([{ id: "d", scenario_id: "s", messages: MESSAGES }]);
    const turns = shown!.turns.map((turn) => ({ ...turn, logprobs: null, finish_reason: "stop" as const }));
    const batch = join(dir, "batch.jsonl");
    const row = { rollout_id: "d", group_id: "d", policy_version: 0, advantage: 0, weight: 1, turns };
    await writeBatch(batch, [row]);
    const losses: number[] = [];
    for (let step = 1; step <= 60; step++) {
      const report = await drained(trainer.supervise({ step, batch, learning_rate: 1e-2 }));
      assert.equal(report.kind, "supervised");
      losses.push(report.loss);
    }
    assert.ok(losses.at(-1)! < 0.1 * losses[0]!, `${losses[0]} to ${losses.at(-1)}`);
    const checkpoint = { id: "checkpoint", dir: join(dir, "checkpoint") };
    await trainer.save(checkpoint.dir);
    const tuned = await trainer.publish({ name: "tuned", version: 1 });
    assert.equal(await greedy(tuned), "hone");
    await assert.rejects(greedy(trainer.base), {
      code: "ENDPOINT_REFUSED",
      message: /There is no model 'policy-000000'/,
    });
    await using again = await open({ resume: { checkpoint, step: 60 } });
    assert.equal(await greedy(await again.publish({ name: "tuned", version: 2, checkpoint })), "hone");
    const { proof } = await again.weights({ format: "peft", dir: join(dir, "adapter"), checkpoint }) as {
      proof: JsonObject;
    };
    assert.ok(Number(proof.changed_tensors) > 0);
    assert.ok(Number(proof.logprob_max_diff) < 1e-3, JSON.stringify(proof));
    const files = await readdir(join(dir, "adapter"));
    assert.ok(files.includes("adapter_model.safetensors") && files.includes("adapter_config.json"), String(files));
  }));

Deno.test("trainer/mlx says that a model is not found, and leaves no process behind", () =>
  opened(async (_trainer, dir, open) => {
    await assert.rejects(open({ model: join(dir, "absent") }), (error: Error & { code: string }) => {
      assert.equal(error.code, "MODEL_NOT_FOUND");
      assert.match(error.message, /^Cannot open the model: There is no model /);
      return true;
    });
  }));

Deno.test("trainer/mlx reports a worker that was killed as lost, and its open request as WORKER_DIED", () =>
  opened(async (trainer, dir) => {
    const { pid } = await new Deno.Command("pgrep", { args: ["-n", "-P", String(Deno.pid), "-f", "hone_worker$"] })
      .output().then(({ stdout }) => ({ pid: Number(new TextDecoder().decode(stdout).trim()) }));
    assert.ok(pid > 0);
    const saving = trainer.save(join(dir, "late"));
    Deno.kill(pid, "SIGKILL");
    await trainer.lost;
    await saving.catch((error) => assert.equal(error.code, "WORKER_DIED"));
    await assert.rejects(trainer.save(join(dir, "later")), { code: "WORKER_DIED" });
  }));
