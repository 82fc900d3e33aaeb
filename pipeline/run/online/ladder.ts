/**
 * The ladder: base, prompt, warm start, RL, each rung measured, none compulsory, each resumable. Names the policies
 * that the verdict compares.
 * @module
 */
import { contextLength } from "../../chat/context_length.ts";
import type { Agent, OnlineTrainer, Policy } from "../../plugin.ts";
import type { Completed } from "../../store/recorded.ts";
import { HoneError, runner as messages } from "../../diagnostics/mod.ts";
import { protect } from "../../common/redact.ts";
import { emit, type RunContext } from "../context.ts";
import { evaluatePolicy, temperatureOf } from "./measure.ts";
import { ladderPhases } from "../progress/phases.ts";
import { reinforce } from "./rl.ts";
import { publish, type TrainingState } from "./training.ts";
import { warmStart } from "./warm_start.ts";

/** What the ladder leaves for the verdict and the exporters. */
export interface LadderResult {
  /** The policy that an exporter ships: the last rung's, or base. */
  policy: Policy;
  /** Its checkpoint; null for the base policy. */
  checkpoint: string | null;
}

/** Climbs the rungs of `ladder:` that are not done yet. */
export async function climb(ctx: RunContext, done: Completed): Promise<LadderResult> {
  const base = ctx.trainer?.base ?? endpointPolicy(ctx);
  if (ctx.trainer && trains(ctx) && base.tokens !== "exact") {
    throw new HoneError(messages.tokens_not_given(base.base_url));
  }
  const plain: Agent = { ...ctx.agent, examples: [] };
  ctx.progress.plan(ladderPhases(ctx, done), ctx.deadline);
  const longest = { secs: done.evaluation_secs.get(ctx.config.evaluate.split) ?? 0 };
  const measure = (policy: Policy, agent: Agent) => measureOnce(ctx, done, policy, agent, longest);
  await measure(base, plain);
  if (ctx.config.ladder.includes("prompt") && ctx.agent.examples.length > 0) {
    await measure({ ...base, name: "prompt" }, ctx.agent);
  }
  if (!ctx.trainer || !trains(ctx)) return { policy: base, checkpoint: null };
  return await train({ ...ctx, agent: plain }, ctx.trainer, done, base, measure, longest);
}

async function train(
  ctx: RunContext,
  trainer: OnlineTrainer,
  done: Completed,
  base: Policy,
  measure: (policy: Policy, agent: Agent) => Promise<void>,
  longest: { secs: number },
): Promise<LadderResult> {
  const state: TrainingState = { step: done.step, checkpoint: done.checkpoint };
  let policy = base;
  let warm_checkpoint = done.policies.get("warm_start")?.checkpoint ?? null;
  const rl = ctx.config.ladder.includes("rl");
  let supervised_steps = 0;
  if (ctx.config.ladder.includes("warm_start")) {
    if (warm_checkpoint === null) {
      await emit(ctx, "runner", "rung.started", { rung: "warm_start", total: 0 });
      await warmStart(ctx, trainer, state, base);
      warm_checkpoint = state.checkpoint;
    }
    supervised_steps = done.policies.get("warm_start") ? done.supervised_steps : state.step;
    policy = await publish(ctx, trainer, {
      name: rl ? "warm_start" : "tuned",
      version: 1,
      checkpoint: warm_checkpoint!,
      restore: state.checkpoint !== warm_checkpoint,
    });
    await measure(policy, ctx.agent);
  }
  if (!rl) return { policy, checkpoint: warm_checkpoint };
  const ship = async (version: number, checkpoint: string) => {
    const tuned = await publish(ctx, trainer, { name: "tuned", version, checkpoint, restore: true });
    await measure(tuned, ctx.agent);
    return { policy: tuned, checkpoint };
  };
  const ended = done.policies.get("tuned");
  if (ended) return await ship(ended.version, ended.checkpoint);
  await emit(ctx, "runner", "rung.started", { rung: "rl", total: ctx.config.train.steps });
  const reserve_secs = longest.secs * 1.2 + 15;
  if (state.step > supervised_steps) {
    const steps = state.step - supervised_steps;
    policy = await publish(ctx, trainer, {
      name: `step-${steps}`,
      version: policy.version + steps,
      checkpoint: state.checkpoint!,
      restore: true,
    });
  }
  const first = supervised_steps > 0 ? 1 : 0;
  const result = await reinforce(ctx, trainer, state, {
    policy,
    first_version: first,
    supervised_steps,
    warm_checkpoint,
    reserve_secs,
    done,
  });
  if (result.checkpoint === null) return { policy, checkpoint: null };
  return await ship(first + result.steps + 1, result.checkpoint);
}

async function measureOnce(ctx: RunContext, done: Completed, policy: Policy, agent: Agent, longest: { secs: number }) {
  const { policies, split, tries, sampling } = ctx.config.evaluate;
  if (!policies.some((name) => name === policy.name)) return;
  const began = performance.now();
  for (const mode of sampling) {
    if (done.evaluations.has(`${policy.name}/${split}/${temperatureOf(ctx, mode)}`)) continue;
    await evaluatePolicy(ctx, { policy, agent, split, tries, sampling: mode });
  }
  longest.secs = Math.max(longest.secs, (performance.now() - began) / 1000);
}

function trains(ctx: RunContext): boolean {
  return ctx.config.ladder.includes("warm_start") || ctx.config.ladder.includes("rl");
}

/**
 * Asks `agent.endpoint` for its longest context, in tokens; 0 where the pipeline or a tape says it, or nobody does.
 * Throws only the run's own end.
 */
export async function endpointContext(ctx: RunContext): Promise<number> {
  const { mode, replies = true } = ctx.config.tape;
  if (ctx.trainer || ctx.config.agent.endpoint?.context_tokens || (mode === "replay" && replies)) return 0;
  return await contextLength(endpointPolicy(ctx), ctx.signal);
}

/** The policy behind `agent.endpoint`. */
export function endpointPolicy(ctx: RunContext): Policy {
  const { endpoint } = ctx.config.agent;
  if (!endpoint) throw new HoneError(messages.nothing_to_evaluate());
  const { base_url, model, api_key_env, headers, body, context_tokens = ctx.context_tokens } = endpoint;
  const api_key = api_key_env ? Deno.env.get(api_key_env) : undefined;
  protect([api_key ?? "", ...Object.values(headers).map((value) => value.replace(/^Bearer\s+/i, ""))]);
  const { temperature, max_tokens, tool_format } = ctx.agent;
  return {
    name: "base",
    version: 0,
    base_url,
    model,
    api_key,
    headers,
    body: body as Policy["body"],
    tokens: "none",
    rollout_handles: false,
    tool_format: tool_format === "auto" ? "native" : tool_format,
    context_tokens,
    sampling: { temperature, top_p: 1, max_tokens },
  };
}
