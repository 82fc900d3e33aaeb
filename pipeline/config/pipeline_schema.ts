/**
 * The schema of a pipeline file: every field described where it is declared, with its default. Types, JSON Schema and
 * the tables of the documentation come from here. Says nothing of plugins' own settings (`with:`).
 * @module
 */
import { z } from "zod";

const positive = () => z.number().positive();
const count = () => z.int().min(1);
const text_values = (what: string) =>
  z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String)).describe(what);

const tool_format = z.enum(["auto", "native", "hermes", "json", "llama_json", "qwen_xml", "pythonic", "mistral"]);

const endpoint = z.strictObject({
  base_url: z.url({ protocol: /^https?$/ }).describe("Base address of an OpenAI-compatible API, with its `/v1`.")
    .meta({ examples: ["http://127.0.0.1:8000/v1"] }),
  model: z.string().min(1).describe("Name of the model at this endpoint.").meta({ examples: ["qwen3-4b"] }),
  context_tokens: count().optional().describe("Longest context of the model; asked of the endpoint when left out.")
    .meta({ examples: [32768] }),
  api_key_env: z.string().optional().describe("Environment variable that holds the API key.")
    .meta({ examples: ["OPENAI_API_KEY"] }),
  headers: text_values("Headers sent with every request.").prefault({}),
  body: z.record(z.string(), z.json()).default({})
    .describe("Further fields of every request, such as `parallel_tool_calls`, `tool_choice` or `reasoning_effort`."),
});

const agent = z.strictObject({
  system_prompt: z.string().default("").describe("Text, or a path that starts with `./` or `../`."),
  examples: z.array(z.strictObject({
    user: z.string().describe("What the user says.").meta({ examples: ["Which files are there?"] }),
    assistant: z.string().describe("What the assistant answers.").meta({ examples: ["Two: a.txt and b.txt."] }),
  })).default([]).describe("Example exchanges put before every task."),
  max_turns: count().default(8).describe("Turns after which a rollout ends."),
  max_tokens: count().default(256).describe("Tokens of one turn."),
  temperature: positive().max(2).default(1).describe("Temperature of `sampled` evaluations."),
  tool_format: tool_format.default("auto").describe("How tools are shown to the model and its calls are read."),
  tool_schemas: z.enum(["full", "compact"]).default("full").describe(
    "What `native` tells the endpoint of a tool: all, or names, types, enums and short descriptions. Other formats are " +
      "always short.",
  ),
  tool_budget_tokens: count().optional().describe(
    "Most tokens of the tools that one scenario offers: those that it needs, filled up with others drawn by `seed`.",
  ).meta({ examples: [4000] }),
  complete_task: z.boolean().default(false).describe("Offer a `complete_task` tool that ends the rollout."),
  max_result_chars: count().default(4000).describe("Characters of a tool result that the model sees."),
  max_history_chars: count().optional().describe(
    "Characters of a conversation above which its oldest tool results are shortened, then left out; when left out, as " +
      "many as fit the model's context.",
  ).meta({ examples: [24000] }),
  max_invalid_calls: count().default(3).describe("Unreadable calls after which a rollout ends."),
  max_repeated_calls: count().default(3).describe("Equal calls in a row after which a rollout ends."),
  turn_timeout_secs: positive().default(60).describe("Longest wait for one turn of the model."),
  tool_timeout_secs: positive().default(30).describe(
    "Longest wait for one tool call; a tool that reports progress has it anew each time.",
  ),
  rollout_timeout_secs: positive().default(600).describe(
    "Longest time of one rollout, from asking for its environment to its last observation; " +
      "`train.group_timeout_secs` may end it sooner.",
  ),
  endpoint: endpoint.optional().describe(
    "A policy that is not trained here, for pipelines without a trainer: it is only measured.",
  ),
});

const sampling_text = z.string().describe("What the model is said to answer.").meta({
  examples: ["No model is available."],
});

const server_fields = {
  tools: z.array(z.string()).optional()
    .describe("Tools that the agent is offered, by name or with `*`; all when left out.")
    .meta({ examples: [["read_*", "write_file"]] }),
  deny: z.array(z.string()).optional().describe("Tools that the agent is never offered, by name or with `*`.")
    .meta({ examples: [["delete_*"]] }),
  read_only_tools: z.array(z.string()).optional()
    .describe("Tools that you know to change nothing, by name or with `*`; a shared server's others are refused.")
    .meta({ examples: [["read_*"]] }),
  elicitation: z.enum(["decline", "accept"]).default("decline")
    .describe("Answer to a server that asks its user: decline, or accept with the form's own defaults."),
  sampling: z.union([z.literal("decline"), z.strictObject({ text: sampling_text })])
    .default("decline")
    .describe("Answer to a server that asks its client's model: decline (it is not offered), or always the same text.")
    .meta({ examples: [{ text: "No model is available." }] }),
  resources: z.boolean().default(false).describe("Offer the server's resources as tools that list and read them."),
  reset: z.enum(["restart", "workdir"]).default("restart")
    .describe("Between rollouts: restart the process, or keep it and refill its `${workdir}`."),
  fixture: z.string().optional().describe("Folder copied into `${workdir}` before each rollout.")
    .meta({ examples: ["./fixture"] }),
  allow_writes: z.boolean().default(false).describe("Let rollouts call writing tools of this shared server."),
  start_timeout_secs: positive().optional().describe(
    "Longest wait for the server's first answer; when left out 30, or 300 where the command may first download a package (npx, uvx, …).",
  ).meta({ examples: [30] }),
  call_timeout_secs: positive().optional().describe(
    "Longest wait for one call; `agent.tool_timeout_secs` when left out.",
  )
    .meta({ examples: [30] }),
};

const container = z.strictObject({
  image: z.string().min(1).describe("Image, already on this machine; its own entrypoint is replaced by `command`.")
    .meta({ examples: ["node:24-slim"] }),
  engine: z.enum(["docker", "podman"]).optional().describe("Who runs it; the first of the two that works here.")
    .meta({ examples: ["podman"] }),
  network: z.string().min(1).default("none").describe("Network of the container; `none` is no network at all."),
  memory: z.string().regex(/^\d+[bkmg]?$/i, "must be a size such as 512m").default("1g").describe(
    "Limit of its memory.",
  ),
  pids: count().default(256).describe("Limit of its processes and threads."),
  mounts: z.array(
    z.string().regex(/^[^:]+:\/[^:]*(:[a-zA-Z,]+)?$/, "must be `outside:/inside`, or with `:rw` behind it"),
  )
    .default([]).describe("Further folders to be seen inside, read-only unless they end in `:rw`.")
    .meta({ examples: [["./server:/app"]] }),
  args: z.array(z.union([z.string(), z.number()]).transform(String)).prefault([])
    .describe("Further arguments of `run`.").meta({ examples: [["--user", "root"]] }),
});

const process_server = z.strictObject({
  command: z.string().min(1).describe("Program to start.").meta({ examples: ["npx"] }),
  args: z.array(z.union([z.string(), z.number()]).transform(String)).prefault([])
    .describe("Its arguments; `${workdir}` is the rollout's own folder."),
  env: text_values("Environment variables of the process, beside the few that hone passes on.").prefault({}),
  roots: z.boolean().optional().describe(
    "Tell the server that `${workdir}` is its root folder; when left out, where `args`, `env` or `cwd` name it.",
  ).meta({ examples: [true] }),
  cwd: z.string().optional().describe("Working folder; `${workdir}` when left out.").meta({ examples: ["./server"] }),
  ...server_fields,
  isolation: z.enum(["shared", "process", "container"]).default("process")
    .describe("One process for all rollouts, or one for each slot, or one in a container for each slot."),
  container: container.optional().describe("The container of `isolation: container`."),
});

const auth = z.strictObject({
  grant: z.enum(["refresh_token", "client_credentials"]).default("refresh_token")
    .describe(
      "Where tokens come from: a login (`hone login <url>`) or `refresh_token_env`, or the client's own secret.",
    ),
  client_id: z.string().optional().describe("The client, where it is not the one that `hone login` registered.")
    .meta({ examples: ["hone-ci"] }),
  client_secret_env: z.string().optional().describe("Environment variable that holds the client's secret.")
    .meta({ examples: ["NOTES_CLIENT_SECRET"] }),
  private_key_env: z.string().optional().describe("Environment variable that holds the client's private key (PEM).")
    .meta({ examples: ["NOTES_CLIENT_KEY"] }),
  key_algorithm: z.string().default("ES256").describe("Signature algorithm of the private key."),
  refresh_token_env: z.string().optional().describe("Environment variable that holds a first refresh token.")
    .meta({ examples: ["NOTES_REFRESH_TOKEN"] }),
  scope: z.string().optional().describe("Scopes to ask for; what the server asks for when left out.")
    .meta({ examples: ["notes:read notes:write"] }),
  issuer: z.string().optional().describe("The only authorization server that may see the client's secrets.")
    .meta({ examples: ["https://login.example.com"] }),
});

const url_server = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).describe("Address of a running server.")
    .meta({ examples: ["http://127.0.0.1:3000/mcp"] }),
  headers: text_values("Headers sent with every request.").prefault({}),
  transport: z.enum(["auto", "http", "sse"]).default("auto").describe("Streamable HTTP, the older SSE, or try both."),
  bearer_env: z.string().optional().describe("Environment variable that holds a bearer token.")
    .meta({ examples: ["MCP_TOKEN"] }),
  auth: auth.optional().describe("OAuth: tokens that hone renews by itself."),
  ...server_fields,
  isolation: z.literal("shared").default("shared").describe("A running server is always shared."),
});

const server = z.union([process_server, url_server]);

const stage = z.strictObject({
  id: z.string().regex(/^[a-z][a-z0-9_-]*$/, "must be lower case letters, digits, - or _, and start with a letter")
    .optional().describe("Unique name of the stage; the plugin's own name when left out.")
    .meta({ examples: ["strict_judge"] }),
  use: z.string().min(1).describe("Built-in `kind/name`, a path, `npm:package@version`, or `exec:` a program.")
    .meta({ examples: ["judge/state", "./my_judge.ts", "npm:some-judge@1.2.3", "exec:./judge.py"] }),
  with: z.record(z.string(), z.unknown()).default({}).describe("Settings of the plugin; see its own table."),
  timeout_secs: positive().optional().describe(
    "Of a judge: longest wait for its judgements of one group, and for one observation; 120 when left out.",
  ).meta({ examples: [120] }),
});

const warm_start = z.strictObject({
  demonstrations: z.int().min(0).default(0).describe("Solved training scenarios to learn from; 0 is all of them."),
  epochs: count().default(1).describe("Times that each demonstration is seen."),
  batch_size: count().default(8).describe("Demonstrations of one optimiser step."),
  learning_rate: positive().default(1e-3).describe("Learning rate of the supervised steps."),
});

const loss = z.strictObject({
  preset: z.enum(["cispo", "grpo", "dr_grpo", "dapo", "gspo"]).default("cispo").describe("Named set of loss options."),
  ratio: z.enum(["token", "sequence"]).optional().describe("Level of the importance ratio.")
    .meta({ examples: ["token"] }),
  clip: z.enum(["cispo", "ppo", "none"]).optional().describe("Shape of the clipping.").meta({ examples: ["ppo"] }),
  eps_low: z.number().min(0).optional().describe("Lower clipping bound.").meta({ examples: [0.2] }),
  eps_high: z.number().min(0).optional().describe("Upper clipping bound.").meta({ examples: [0.28] }),
  cap: positive().optional().describe("Largest ratio under `clip: cispo`.").meta({ examples: [5] }),
  normaliser: z.enum(["tokens", "sequences", "constant"]).optional().describe("What the sum over tokens is divided by.")
    .meta({ examples: ["tokens"] }),
  constant: positive().optional().describe("The divisor of `normaliser: constant`.").meta({ examples: [1024] }),
  tis_cap: positive().optional().describe("Largest weight that corrects sampler against trainer.")
    .meta({ examples: [2] }),
  beta: z.number().min(0).optional().describe("Weight of the KL term to the base policy.").meta({ examples: [0] }),
});

const train = z.strictObject({
  group_size: z.int().min(2).default(8).describe("Rollouts of one scenario that are compared with each other."),
  groups_per_step: count().default(6).describe("Scenarios of one optimiser step."),
  steps: count().default(8).describe("Optimiser steps of the `rl` rung."),
  concurrency: count().default(48).describe("Rollouts in flight at once."),
  group_timeout_secs: positive().default(120).describe(
    "Longest wait for the slowest rollout of a group (the tries of one scenario) once the first has its servers, in " +
      "training and in evaluations.",
  ),
  learning_rate: positive().default(2e-5).describe("Learning rate of the `rl` rung."),
  learning_rate_decay: z.enum(["none", "linear"]).default("none")
    .describe("Whether that rate falls in a line over the steps, to nothing after the last."),
  advantage: z.enum(["mean", "mean_std"]).default("mean")
    .describe("Reward minus the group's mean, or that divided by its standard deviation."),
  advantage_eps: positive().default(1e-4).describe("Added to the standard deviation under `mean_std`."),
  loss: loss.prefault({}).describe("The loss: a preset and what departs from it."),
  mask_truncated: z.boolean().default(true).describe("Leave rollouts that were cut off out of the loss."),
  shuffle_rewards: z.boolean().default(false).describe("Negative control: shuffle rewards within the step."),
  validate_every: z.int().min(0).default(0).describe("Steps between validations; 0 is never."),
  temperature: positive().max(2).default(1).describe("Sampling temperature of training rollouts."),
  max_staleness: z.int().min(0).default(0).describe(
    "Policy versions that may lie between the weights that sample a rollout and those that it trains: 0 is strictly on-policy; above 0 rollouts, judges and optimiser overlap, and the loss corrects with the log-probabilities of the sampler.",
  ),
});

const evaluate = z.strictObject({
  policies: z.array(z.enum(["base", "prompt", "warm_start", "tuned"])).min(1).default(["base", "warm_start", "tuned"])
    .describe("Policies that the verdict compares."),
  split: z.enum(["heldout", "validation"]).default("heldout").describe("Scenarios that the verdict reads."),
  tries: count().default(1).describe("Attempts at each scenario."),
  concurrency: count().optional().describe(
    "Rollouts in flight at once while a policy is measured; `train.concurrency` when left out.",
  ).meta({ examples: [8] }),
  sampling: z.array(z.enum(["greedy", "sampled"])).min(1).default(["greedy"])
    .describe("How policies answer; the first is the one that the verdict speaks of."),
  success_at: z.number().gt(0).max(1).default(1).describe("Score of the decisive judge that counts as success."),
});

const limits = z.strictObject({
  wall_clock_secs: positive().optional().describe(
    "Seconds that training and verdict may take, those of earlier starts of the run included; training stops early enough.",
  )
    .meta({ examples: [720] }),
  rollouts: count().optional().describe("Rollouts after which training stops and the verdict is made.").meta({
    examples: [5000],
  }),
  tokens: count().optional().describe("Sampled tokens after which training stops and the verdict is made.").meta({
    examples: [2000000],
  }),
  llm_calls: count().optional().describe(
    "Questions that stages may put to language models (judges, say), those of earlier starts of the run included; cached " +
      "ones cost nothing. Every further one fails, and its stage says what that means.",
  ).meta({ examples: [20000] }),
  llm_tokens: count().optional().describe(
    "Tokens that those questions and their answers may come to, as the endpoints count them, or estimated where they do " +
      "not; what is under way when it is used up is still answered.",
  ).meta({ examples: [5000000] }),
});

const tape_mode = z.enum(["record", "replay", "live"]);
const tape_fields = z.strictObject({
  mode: tape_mode.default("live").describe("Record the run, replay a recorded one, or neither."),
  path: z.string().min(1).optional().describe(
    "The tape, or the folder of the run that recorded it. When left out: recorded into the run's folder, replayed " +
      "from `tape.jsonl` beside the pipeline file.",
  ).meta({ examples: ["./tape.jsonl"] }),
  on_miss: z.enum(["fail", "live"]).default("fail").describe(
    "What a replay does where the tape has no answer: end that rollout, or ask the real server.",
  ),
  replies: z.boolean().optional().describe(
    "The model's replies are on the tape too; when left out, those of `agent.endpoint` are.",
  ).meta({ examples: [false] }),
});

const tape = z.union([tape_mode.transform((mode) => tape_fields.parse({ mode })), tape_fields]);

/** The whole pipeline file. */
export const pipeline_schema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, "must be letters, digits, . _ or -, at most 63 of them")
    .describe("Name of the pipeline; runs are named after it.").meta({ examples: ["files"] }),
  seed: z.int().min(0).default(0).describe("Seed of everything random."),
  model: z.string().min(1).optional().describe("Model to train: a hub id, a folder, or a built-in small model.")
    .meta({ examples: ["smollm2-135m", "Qwen/Qwen3-0.6B", "./models/mine"] }),
  agent: agent.prefault({}).describe("How the agent is prompted, sampled and bounded."),
  servers: z.record(z.string().regex(/^[A-Za-z0-9_-]{1,32}$/, "must be letters, digits, _ or -, at most 32"), server)
    .prefault({}).describe("MCP servers by name, or the path of an `mcpServers` JSON file."),
  stages: z.array(stage).min(1).describe("The plugins of the pipeline and their settings.")
    .meta({ examples: [[{ use: "discoverer/mcp" }]] }),
  ladder: z.array(z.enum(["prompt", "warm_start", "rl"])).default(["warm_start", "rl"])
    .describe("Rungs of training, in this order; without a trainer there are none."),
  warm_start: warm_start.prefault({}).describe("The supervised warm start on verified demonstrations."),
  train: train.prefault({}).describe("On-policy reinforcement learning."),
  evaluate: evaluate.prefault({}).describe("The closing comparison."),
  tape: tape.prefault("live").describe(
    "Recording and replay of what servers, judges and model answer: a mode, or a map.",
  ),
  limits: limits.prefault({}).describe("Limits of the run; leave one out to lift it."),
  allow_writes: z.boolean().default(false).describe("Let rollouts call writing tools of shared servers."),
});

/** A pipeline file, read and filled with its defaults. */
export type PipelineConfig = z.output<typeof pipeline_schema>;
/** One entry of `servers:`. */
export type ServerConfig = z.output<typeof server>;
