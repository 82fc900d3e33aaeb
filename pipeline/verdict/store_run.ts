/**
 * Writes a small run into a store, for tests that read one: three policies on held-out scenarios, two RL steps,
 * attempts that failed and were done again, hostile text.
 * @module
 */
import { Bus } from "../bus.ts";
import type { EventMap, EventName, Purpose, RolloutRef, Split } from "../events.ts";
import type { Store } from "../store.ts";
import { HOSTILE } from "./sample_report.ts";

/** One rollout to write. */
interface Written {
  policy: string;
  scenario: string;
  purpose?: Purpose;
  split?: Split;
  temperature?: number;
  step?: number;
  attempt?: number;
  success?: boolean;
  invalid?: string;
  /** Writes no closing record, but that it was given up. */
  abandoned?: boolean;
  call?: "ok" | "invalid" | "tool_error";
  text?: string;
}

const VERSIONS: Record<string, number> = { base: 0, warm_start: 1, tuned: 3 };
const SCENARIOS = 8;
const SOLVED: Record<string, number> = { base: 0, warm_start: 3, tuned: 6 };

/** Writes the run and waits until it is readable; `ended` adds its closing record. */
export async function writeRun(store: Store, run_id: string, { ended = false } = {}): Promise<void> {
  const bus = new Bus(run_id, store);
  const emit = <K extends EventName>(type: K, data: EventMap[K]) => bus.emit("test", type, data).ordered;
  await emit("run.started", { name: "files", seed: 7, hone_version: "0.1.0", resumed: false });
  for (let i = 0; i < SCENARIOS; i++) {
    const task = i === 0 ? HOSTILE : `Write note ${i}.`;
    await emit("scenario.produced", {
      id: `h${i}`,
      task,
      split: "heldout",
      tags: [i % 2 ? "move" : "write"],
      checks: [],
    });
    await emit("scenario.produced", { id: `t${i}`, task, split: "train", tags: ["write"], checks: [] });
  }
  for (const policy of Object.keys(SOLVED)) {
    for (let i = 0; i < SCENARIOS; i++) {
      for (const temperature of [0, 1]) {
        const success = i < SOLVED[policy]!;
        const call = policy === "base" ? "invalid" : i === 5 ? "tool_error" : "ok";
        await rollout(emit, {
          policy,
          scenario: `h${i}`,
          temperature,
          success,
          call,
          text: i === 0 ? HOSTILE : undefined,
        });
      }
    }
  }
  // Attempts that came to nothing: one was done again, one never.
  await rollout(emit, { policy: "tuned", scenario: "h1", attempt: 0, abandoned: true });
  await rollout(emit, { policy: "base", scenario: "h8", invalid: "files: server died" });
  await training(emit);
  if (ended) await emit("run.ended", { status: "completed" });
  await store.flush();
}

type Emit = <K extends EventName>(type: K, data: EventMap[K]) => Promise<unknown>;

async function training(emit: Emit): Promise<void> {
  const metrics = {};
  await emit("train.stepped", { step: 1, kind: "supervised", loss: 2.5, metrics, seconds: 3, checkpoint: "c1" });
  for (const step of [0, 1]) {
    for (let i = 0; i < 4; i++) {
      const call = i <= 1 - step ? "invalid" : "ok";
      await rollout(emit, {
        policy: `step-${step}`,
        scenario: `t${i}`,
        purpose: "train",
        split: "train",
        step,
        success: i < 1 + step,
        call,
      });
    }
    await emit("train.stepped", { step: 2 + step, kind: "rl", loss: 0.1, metrics, seconds: 20, checkpoint: "c2" });
  }
}

async function rollout(emit: Emit, written: Written): Promise<void> {
  const { policy, scenario, purpose = "evaluation", split = "heldout", temperature = 0, step = -1, attempt = 1 } =
    written;
  const rollout_id = [policy, scenario, purpose, temperature, step, attempt].join("/");
  const ref: RolloutRef = {
    rollout_id,
    group_id: `g-${rollout_id}`,
    scenario_id: scenario,
    purpose,
    split,
    temperature,
    try: 0,
    policy,
    policy_version: VERSIONS[policy] ?? 2,
    step,
    seed: 1,
    attempt,
  };
  await emit("rollout.requested", ref);
  if (written.abandoned) {
    await emit("rollout.abandoned", { rollout_id, reason: "hone was killed" });
    return;
  }
  await calls(emit, rollout_id, written);
  const { invalid, success = false } = written;
  const outcome = invalid
    ? { end: "server_failed" as const, answer: null, cause: invalid }
    : { end: "answered" as const, answer: "Done." };
  await emit("rollout.completed", { ...ref, outcome, seconds: 2 });
  if (!invalid) {
    await emit("judgement.made", {
      rollout_id,
      judge: "state",
      score: success ? 1 : 0.25,
      reason: written.text ?? "checked",
    });
  }
  const reward = invalid ? { invalid } : { value: success ? 1 : 0.25, parts: { state: 1 } };
  await emit("reward.shaped", { rollout_id, group_id: ref.group_id, success: success && !invalid, ...reward });
}

async function calls(emit: Emit, rollout_id: string, { call = "ok", text = "All done." }: Written): Promise<void> {
  const bad = call === "invalid";
  await emit("turn.completed", {
    rollout_id,
    turn: {
      type: "turn",
      index: 0,
      input: [{ role: "user", content: text }],
      text,
      tool_calls: bad ? [] : [{ id: "c0", name: "write_file", arguments: { path: "a.txt" } }],
      ...(bad && { invalid_call: "no such tool" }),
      finish_reason: "stop",
      prompt_tokens: 100,
      output_tokens: 20,
      seconds: 1,
    },
  });
  if (bad) return;
  await emit("tool.called", {
    rollout_id,
    call: {
      type: "tool_call",
      turn: 0,
      index: 0,
      server: "files",
      tool: "write_file",
      arguments: { path: "a.txt" },
      outcome: call === "tool_error" ? "tool_error" : "ok",
      text,
      result: { content: [] },
      truncated: false,
      seconds: 0.1,
    },
  });
}
