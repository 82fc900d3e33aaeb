/**
 * The policies of a run that need no training: the trainer's base model, or the pipeline's endpoint; the same with
 * another prompt; further models behind endpoints. Opening a trainer is a call, not an event: it produces nothing to
 * record, and everything after it needs the policy.
 * @module
 */
import { contextLength } from "../chat/context_length.ts";
import { protect, protectAddress, protectHeaders } from "../common/redact.ts";
import { HoneError, runner as messages } from "../diagnostics/mod.ts";
import type { Out } from "../bus.ts";
import type { PipelineConfig } from "../config/pipeline_schema.ts";
import type { ChatMessage, EventMap } from "../events.ts";
import type { Agent, Policy } from "../plugin.ts";
import { mostRollouts } from "./bindings.ts";
import { checkpointOf, type Prompt, type Run } from "./context.ts";

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
  return run.opening ??= openPolicy(run).then(async (base) => {
    run.policies.set("base", base);
    if (run.agent.examples.length > 0) setPrompt(run, "prompt", { examples: run.agent.examples });
    await Promise.all(Object.keys(run.config.evaluate.models).map((name) => addModel(run, name)));
    return base;
  });
}

/** Makes the base model with another prompt a policy. */
export function setPrompt(run: Run, name: string, prompt: Prompt): void {
  run.policies.set(name, { ...run.policies.get("base")!, name });
  run.prompts.set(name, prompt);
}

/** Makes a model of `evaluate.models` a policy, if it is to be compared. */
async function addModel(run: Run, name: string): Promise<void> {
  const { evaluate: { models, policies } } = run.config;
  if (!policies.includes(name)) return;
  const { system_prompt, examples, max_tokens, tool_format, ...endpoint } = models[name]!;
  const agent = { ...run.agent, ...(max_tokens && { max_tokens }), ...(tool_format && { tool_format }) };
  const policy = policyAt(name, endpoint, agent);
  run.policies.set(name, { ...policy, context_tokens: await contextOf(run, policy) });
  run.prompts.set(name, {
    examples: asMessages(examples),
    ...(system_prompt !== undefined && { system_prompt }),
    ...(max_tokens && { max_tokens }),
  });
}

/** Example exchanges as messages. */
export function asMessages(examples: readonly { user: string; assistant: string }[]): ChatMessage[] {
  return examples.flatMap(({ user, assistant }) => [
    { role: "user" as const, content: user },
    { role: "assistant" as const, content: assistant },
  ]);
}

/** Opens the trainer, if there is one, and returns the base policy. The run fails if the trainer exits. */
async function openPolicy(run: Run): Promise<Policy> {
  const { trainer } = run.roles;
  if (!trainer || !run.config.model) {
    const policy = endpointPolicy(run);
    return { ...policy, context_tokens: await contextOf(run, policy) };
  }
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
 * The context length of a policy behind an endpoint, in tokens: as set, or as the endpoint reports it; 0 if that is
 * unknown, or a tape replaces the endpoint. Throws only if the run ends.
 */
async function contextOf({ config: { tape }, signal }: Run, policy: Policy): Promise<number> {
  const { mode, replies = true } = tape;
  if (policy.context_tokens > 0 || (mode === "replay" && replies)) return policy.context_tokens;
  return await contextLength(policy, signal);
}

/** The policy at `agent.endpoint`. */
export function endpointPolicy({ config, agent }: Pick<Run, "config" | "agent">): Policy {
  const { endpoint } = config.agent;
  if (!endpoint) throw new HoneError(messages.nothing_to_evaluate());
  return policyAt("base", endpoint, agent);
}

/** The policy behind an endpoint; its key is read from the environment, and kept out of all records. */
function policyAt(
  name: string,
  endpoint: NonNullable<PipelineConfig["agent"]["endpoint"]>,
  { temperature, max_tokens, tool_format }: Pick<Agent, "temperature" | "max_tokens" | "tool_format">,
): Policy {
  const { base_url, model, api_key_env, headers, body, context_tokens = 0 } = endpoint;
  const api_key = api_key_env ? Deno.env.get(api_key_env) : undefined;
  protect([api_key ?? ""]);
  protectHeaders(headers);
  protectAddress(base_url);
  return {
    name,
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
