/**
 * The initial policy of a run: the trainer's base model, or the pipeline's endpoint. Opening a trainer is a call, not
 * an event: it produces nothing to record, and everything after it needs the policy.
 * @module
 */
import { contextLength } from "../chat/context_length.ts";
import { protect, protectAddress, protectHeaders } from "../common/redact.ts";
import { HoneError, runner as messages } from "../diagnostics/mod.ts";
import type { Out } from "../bus.ts";
import type { EventMap } from "../events.ts";
import type { Policy } from "../plugin.ts";
import { mostRollouts } from "./bindings.ts";
import { checkpointOf, type Run } from "./context.ts";

/** Publishes the requested policy once `serve` has it ready; a recorded policy is not recorded again. */
export async function publishPolicy(
  run: Run,
  { name, version, checkpoint }: EventMap["policy.requested"],
  { deliver }: Out,
  serve: () => Promise<Policy>,
): Promise<void> {
  const policy = await serve();
  run.policies.set(name, policy);
  const recorded = run.recorded.policies.get(name)?.checkpoint === checkpoint;
  await deliver("policy.published", { name, version, model: policy.model, checkpoint }, recorded);
}

/** The base policy: the model is opened once, by whoever needs it first. */
export function basePolicy(run: Run): Promise<Policy> {
  return run.opening ??= openPolicy(run).then((base) => {
    run.policies.set("base", base);
    if (run.agent.examples.length > 0) run.policies.set("prompt", { ...base, name: "prompt" });
    return base;
  });
}

/** Opens the trainer, if there is one, and returns the base policy. The run fails if the trainer exits. */
async function openPolicy(run: Run): Promise<Policy> {
  const { trainer } = run.roles;
  if (!trainer || !run.config.model) return endpointPolicy(run, await endpointContext(run));
  const { role } = trainer;
  const { config, agent, run_dir, progress, recorded } = run;
  progress.begin("open the model", 0);
  const args = {
    model: config.model!,
    agent,
    seed: config.seed,
    run_dir,
    on_progress: (message: string) => progress.say(message),
  };
  if (role.mode === "hosted") {
    run.hosted = await role.open(args);
    return run.hosted.base;
  }
  const { max_staleness, fresh_optimizer } = config.train;
  const concurrency = mostRollouts(config);
  const resume = recorded.checkpoint === null
    ? {}
    : { resume: { checkpoint: checkpointOf(run, recorded.checkpoint), step: recorded.step } };
  run.online = await role.open({ ...args, concurrency, max_staleness, fresh_optimizer, ...resume });
  run.online.lost?.then((error) => run.stop(new HoneError(messages.trainer_lost(error.message), { cause: error })));
  return run.online.base;
}

/**
 * Requests the context length of `agent.endpoint`, in tokens; 0 if the pipeline or a tape sets it, or if it is unknown.
 * Throws only if the run ends.
 */
async function endpointContext(run: Run): Promise<number> {
  const { mode, replies = true } = run.config.tape;
  if (run.config.agent.endpoint?.context_tokens || (mode === "replay" && replies)) return 0;
  return await contextLength(endpointPolicy(run, 0), run.signal);
}

/** The policy at `agent.endpoint`; `found_context` is used if the pipeline does not set the context length. */
export function endpointPolicy({ config, agent }: Pick<Run, "config" | "agent">, found_context: number): Policy {
  const { endpoint } = config.agent;
  if (!endpoint) throw new HoneError(messages.nothing_to_evaluate());
  const { base_url, model, api_key_env, headers, body, context_tokens = found_context } = endpoint;
  const api_key = api_key_env ? Deno.env.get(api_key_env) : undefined;
  protect([api_key ?? ""]);
  protectHeaders(headers);
  protectAddress(base_url);
  const { temperature, max_tokens, tool_format } = agent;
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
