/**
 * The schema of a pipeline file: every field with its description and default. Types, JSON Schema and the tables of the
 * documentation are derived from it. Plugins' settings (`with:`) have their own schemas.
 * @module
 */
import { z } from "zod";
import { train } from "./train_schema.ts";
import { llm_endpoint, llm_price } from "../llm/endpoint_schema.ts";

const positive = () => z.number().positive();
const count = () => z.int().min(1);
const text_values = (what: string) =>
  z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String)).describe(what);

const tool_format = z.enum(["auto", "native", "hermes", "json", "llama_json", "qwen_xml", "pythonic", "mistral"]);

const endpoint = z.strictObject({
  base_url: z.url({ protocol: /^https?$/ }).describe("Base URL of an OpenAI-compatible API, including `/v1`.")
    .meta({ examples: ["http://127.0.0.1:8000/v1"] }),
  model: z.string().min(1).describe("Name of the model at this endpoint.").meta({ examples: ["qwen3-4b"] }),
  context_tokens: count().optional().describe("Maximum context length of the model. Default: reported by the endpoint.")
    .meta({ examples: [32768] }),
  api_key_env: z.string().optional().describe("Environment variable that holds the API key.")
    .meta({ examples: ["OPENAI_API_KEY"] }),
  headers: text_values("Headers sent with every request.").prefault({}),
  body: z.record(z.string(), z.json()).default({})
    .describe(
      "Additional fields of every request, such as `parallel_tool_calls`, `tool_choice` or `reasoning_effort`.",
    ),
  price: llm_price.optional().describe("Price of the model, from which the cost of its rollouts is computed.")
    .meta({ examples: [{ input_per_million: 0.25, output_per_million: 2 }] }),
});

const examples = z.array(z.strictObject({
  user: z.string().describe("The user's message.").meta({ examples: ["Which files are there?"] }),
  assistant: z.string().describe("The assistant's reply.").meta({ examples: ["Two: a.txt and b.txt."] }),
}));

const agent = z.strictObject({
  system_prompt: z.string().default("").describe("System prompt: text, or a path that starts with `./` or `../`."),
  examples: examples.default([]).describe(
    "Example exchanges of the policy `prompt`, inserted before every task. Without any, the `prompt` rung searches for them.",
  ),
  max_turns: count().default(8).describe("Maximum turns per rollout."),
  max_tokens: count().default(256).describe("Maximum tokens per turn."),
  temperature: positive().max(2).default(1).describe("Sampling temperature of `sampled` evaluations."),
  tool_format: tool_format.default("auto").describe(
    "Format in which tools are shown to the model and its calls are parsed.",
  ),
  tool_schemas: z.enum(["full", "compact"]).default("full").describe(
    "Detail of tool definitions with `native`: complete, or only names, types, enums and short descriptions. Other " +
      "formats are always compact.",
  ),
  tool_budget_tokens: count().optional().describe(
    "Maximum tokens of the tools offered to a scenario: those that it needs, filled up with others selected by `seed`.",
  ).meta({ examples: [4000] }),
  complete_task: z.boolean().default(false).describe("Offer a `complete_task` tool, which ends the rollout."),
  max_result_chars: count().default(4000).describe("Maximum characters of a tool result shown to the model."),
  max_history_chars: count().optional().describe(
    "Maximum characters of a conversation; above it the oldest tool results are shortened, then removed. Default: as many " +
      "as fit the model's context.",
  ).meta({ examples: [24000] }),
  max_invalid_calls: count().default(3).describe("Consecutive invalid calls after which a rollout ends."),
  max_repeated_calls: count().default(3).describe("Consecutive identical calls after which a rollout ends."),
  turn_timeout_secs: positive().default(60).describe("Time limit for one turn of the model."),
  tool_timeout_secs: positive().default(30).describe(
    "Time limit for one tool call; restarted whenever the tool reports progress.",
  ),
  rollout_timeout_secs: positive().default(600).describe(
    "Time limit for one rollout, from requesting its environment to its last observation; " +
      "`train.group_timeout_secs` may end it sooner.",
  ),
  endpoint: endpoint.optional().describe(
    "A policy behind an endpoint, for pipelines without a trainer: it is only evaluated.",
  ),
});

const sampling_text = z.string().describe("Text of the reply.").meta({
  examples: ["No model is available."],
});

const server_fields = {
  tools: z.array(z.string()).optional()
    .describe("Tools that the agent is offered and scenarios may call, by name or with `*`. Default: all.")
    .meta({ examples: [["read_*", "write_file"]] }),
  deny: z.array(z.string()).optional().describe("Tools left out of those, by name or with `*`.")
    .meta({ examples: [["delete_*"]] }),
  read_only_tools: z.array(z.string()).optional()
    .describe("Read-only tools, by name or with `*`; calls of a shared server's other tools are rejected.")
    .meta({ examples: [["read_*"]] }),
  elicitation: z.enum(["decline", "accept"]).default("decline")
    .describe("Response to a server's elicitation requests: decline, or accept with the form's defaults."),
  sampling: z.union([z.literal("decline"), z.strictObject({ text: sampling_text })])
    .default("decline")
    .describe("Response to a server's sampling requests: decline (sampling is not offered), or a fixed text.")
    .meta({ examples: [{ text: "No model is available." }] }),
  resources: z.boolean().default(false).describe("Offer the server's resources through tools that list and read them."),
  reset: z.enum(["restart", "workdir"]).default("restart")
    .describe("Between rollouts: restart the process, or keep it and reset its `${workdir}`, home and `TMPDIR`."),
  fixture: z.string().optional().describe("Folder whose contents are copied to `${workdir}` before each rollout.")
    .meta({ examples: ["./fixture"] }),
  allow_writes: z.boolean().default(false).describe(
    "Let rollouts call tools that are not read-only on this shared server.",
  ),
  start_timeout_secs: positive().optional().describe(
    "Time limit for the server's first response. Default: 30, or 300 if the command may first download a package (npx, uvx, …).",
  ).meta({ examples: [30] }),
  call_timeout_secs: positive().optional().describe(
    "Time limit for one call. Default: `agent.tool_timeout_secs`.",
  )
    .meta({ examples: [30] }),
};

const container = z.strictObject({
  image: z.string().min(1).describe("Image, already on this machine; its entrypoint is replaced by `command`.")
    .meta({ examples: ["node:24-slim"] }),
  engine: z.enum(["docker", "podman"]).optional().describe(
    "Container engine. Default: the first of the two that works.",
  )
    .meta({ examples: ["podman"] }),
  network: z.string().min(1).default("none").describe("Network of the container; `none`: no network."),
  memory: z.string().regex(/^\d+[bkmg]?$/i, "must be a size such as 512m").default("1g").describe(
    "Memory limit.",
  ),
  pids: count().default(256).describe("Limit on processes and threads."),
  capabilities: z.array(z.string().regex(/^[A-Z_]+$/, "must be a name such as NET_BIND_SERVICE")).default([])
    .describe("Linux capabilities that the container keeps; all others are dropped.")
    .meta({ examples: [["NET_BIND_SERVICE"]] }),
  new_privileges: z.boolean().default(false).describe(
    "Let programs in the container gain privileges, as `sudo` does and others with the setuid bit.",
  ),
  mounts: z.array(
    z.string().regex(/^[^:]+:\/[^:]*(:[a-zA-Z,]+)?$/, "must be `outside:/inside` or `outside:/inside:rw`"),
  )
    .default([]).describe("Additional folders to mount, read-only unless they end in `:rw`.")
    .meta({ examples: [["./server:/app"]] }),
  args: z.array(z.union([z.string(), z.number()]).transform(String)).prefault([])
    .describe("Additional arguments of the engine's `run`.").meta({ examples: [["--user", "root"]] }),
});

const process_server = z.strictObject({
  command: z.string().min(1).describe("Program to start.").meta({ examples: ["npx"] }),
  args: z.array(z.union([z.string(), z.number()]).transform(String)).prefault([])
    .describe("Its arguments; `${workdir}` is the rollout's own folder."),
  env: text_values("Environment variables of the process, in addition to the few that it inherits.").prefault({}),
  roots: z.boolean().optional().describe(
    "Announce `${workdir}` to the server as its root. Default: true if `args`, `env` or `cwd` contain it.",
  ).meta({ examples: [true] }),
  cwd: z.string().optional().describe("Working directory. Default: `${workdir}`.").meta({ examples: ["./server"] }),
  ...server_fields,
  isolation: z.enum(["shared", "process", "container"]).default("process")
    .describe("One process for all rollouts (shared), one per rollout slot, or one per slot in a container."),
  container: container.optional().describe("The container of `isolation: container`."),
});

const auth = z.strictObject({
  grant: z.enum(["refresh_token", "client_credentials"]).default("refresh_token")
    .describe(
      "Source of tokens: a login (`hone login <url>`) or `refresh_token_env`; or the client's own credentials.",
    ),
  client_id: z.string().optional().describe("Client id. Default: the client that `hone login` registered.")
    .meta({ examples: ["hone-ci"] }),
  client_secret_env: z.string().optional().describe("Environment variable that holds the client's secret.")
    .meta({ examples: ["NOTES_CLIENT_SECRET"] }),
  private_key_env: z.string().optional().describe("Environment variable that holds the client's private key (PEM).")
    .meta({ examples: ["NOTES_CLIENT_KEY"] }),
  key_algorithm: z.string().default("ES256").describe("Signature algorithm of the private key."),
  refresh_token_env: z.string().optional().describe("Environment variable that holds an initial refresh token.")
    .meta({ examples: ["NOTES_REFRESH_TOKEN"] }),
  scope: z.string().optional().describe("Scopes to request. Default: those that the server requires.")
    .meta({ examples: ["notes:read notes:write"] }),
  issuer: z.string().optional().describe("The only authorization server that may receive the client's secrets.")
    .meta({ examples: ["https://login.example.com"] }),
});

const url_server = z.strictObject({
  url: z.url({ protocol: /^https?$/ }).describe("Address of a running server.")
    .meta({ examples: ["http://127.0.0.1:3000/mcp"] }),
  headers: text_values("Headers sent with every request.").prefault({}),
  transport: z.enum(["auto", "http", "sse"]).default("auto").describe(
    "Streamable HTTP, the older SSE, or auto: try both.",
  ),
  bearer_env: z.string().optional().describe("Environment variable that holds a bearer token.")
    .meta({ examples: ["MCP_TOKEN"] }),
  auth: auth.optional().describe("OAuth, with tokens that hone refreshes automatically."),
  ...server_fields,
  isolation: z.literal("shared").default("shared").describe("A running server is always shared."),
});

const server = z.union([process_server, url_server]);

const stage = z.strictObject({
  id: z.string().regex(/^[a-z][a-z0-9_-]*$/, "must be lower case letters, digits, - or _, and start with a letter")
    .optional().describe("Unique name of the stage. Default: the plugin's name.")
    .meta({ examples: ["strict_judge"] }),
  use: z.string().min(1).describe(
    "Plugin: a built-in `kind/name`, a path, `npm:package@version`, or `exec:` and a program.",
  )
    .meta({ examples: ["judge/state", "./my_judge.ts", "npm:some-judge@1.2.3", "exec:./judge.py"] }),
  with: z.record(z.string(), z.unknown()).default({}).describe("Settings of the plugin; see its table."),
  timeout_secs: positive().optional().describe(
    "For a judge: time limit for judging one group, and for one observation. Default: 120.",
  ).meta({ examples: [120] }),
});

const warm_start = z.strictObject({
  demonstrations: z.int().min(0).default(0).describe(
    "Maximum number of training scenarios with a verified solution to learn from; 0: all.",
  ),
  epochs: count().default(1).describe("Passes over the demonstrations."),
  batch_size: count().default(8).describe("Demonstrations per optimiser step."),
  learning_rate: positive().default(1e-3).describe("Learning rate of the supervised steps."),
});

const prompt = z.strictObject({
  model: llm_endpoint.optional().describe(
    "Language model that proposes instructions, from the failures of those tried so far. Default: none; the instructions " +
      "are then a few fixed ones, filled in with the names of the tools.",
  ).meta({ examples: [{ base_url: "http://127.0.0.1:8000/v1", model: "qwen3-32b" }] }),
  instructions: z.int().min(0).default(4).describe("Maximum number of instructions to try besides the system prompt."),
  examples: z.int().min(0).default(3).describe(
    "Maximum number of examples: reference solutions of training scenarios, replayed on the servers and judged successful.",
  ),
  sample: count().default(16).describe("Training scenarios on which each candidate is tried, once each."),
  rollouts: count().default(400).describe(
    "Maximum number of rollouts of the search, replays and the choice on validation scenarios included.",
  ),
  max_tokens: count().optional().describe(
    "Maximum estimated tokens of instructions and examples. Default: a quarter of the model's context, or 2000 if that is unknown.",
  ).meta({ examples: [1500] }),
});

/** Policies that hone makes itself; others are keys of `evaluate.models`. */
export const POLICIES = ["base", "nothing", "reference", "prompt", "warm_start", "tuned"] as const;

const policy_name = z.string().regex(
  /^[a-z][a-z0-9_-]{0,31}$/,
  "must be lower case letters, digits, - or _, start with a letter and have at most 32 characters",
);

const model = endpoint.extend({
  system_prompt: z.string().optional().describe(
    "System prompt: text, or a path that starts with `./` or `../`. Default: `agent.system_prompt`.",
  ).meta({ examples: ["./gpt.md"] }),
  examples: examples.default([]).describe("Example exchanges inserted before every task."),
  tool_format: tool_format.optional().describe("Format of tools and calls. Default: `native`, or `agent.tool_format`.")
    .meta({ examples: ["native"] }),
  max_tokens: count().optional().describe("Maximum tokens per turn. Default: `agent.max_tokens`.").meta({
    examples: [1024],
  }),
});

const suite = z.union([
  z.string().min(1),
  z.strictObject({
    path: z.string().min(1).describe("A file of scenarios, for the stages of this pipeline, or another pipeline file.")
      .meta({ examples: ["./related.yaml"] }),
    servers: z.record(z.string(), z.json()).optional().describe(
      "Servers of a file of scenarios, as in `servers`; `{}`: none, the agent has no tools. Default: those of this pipeline.",
    ).meta({ examples: [{}] }),
  }),
]);

const evaluate = z.strictObject({
  policies: z.array(policy_name).min(1).default(["base", "prompt", "warm_start", "tuned"])
    .describe(
      "Policies that the verdict compares: of `ladder` (`base`, `prompt`, `warm_start`, `tuned`), `nothing` (makes no call " +
        "and answers nothing), `reference` (replays the scenarios' reference solutions), and those of `models`.",
    ),
  models: z.record(policy_name, model).prefault({}).describe(
    "Further models to compare, each behind an OpenAI-compatible endpoint: policies with these names, only evaluated.",
  ).meta({
    examples: [{ gpt: { base_url: "https://api.openai.com/v1", model: "gpt-5-mini", api_key_env: "OPENAI_API_KEY" } }],
  }),
  suites: z.record(policy_name, suite).prefault({}).describe(
    "Further held-out scenarios by name, such as related tasks, other servers, or chat without tools: a path, or a map. They " +
      "are attempted by the same policies after the verdict, and reported beside it.",
  ).meta({ examples: [{ related: "./related.yaml", chat: "../chat/pipeline.yaml" }] }),
  split: z.enum(["heldout", "validation"]).default("heldout").describe("Split that the verdict is based on."),
  tries: count().default(1).describe("Attempts per scenario."),
  concurrency: count().optional().describe(
    "Maximum number of concurrent rollouts in evaluations. Default: `train.concurrency`.",
  ).meta({ examples: [8] }),
  sampling: z.array(z.enum(["greedy", "sampled"])).min(1).default(["greedy"])
    .describe("Decoding of the policies; the verdict reports the first."),
  validation_scenarios: z.int().min(0).default(64).describe(
    "Maximum number of validation scenarios on which the verdict also compares the tuned policy with the one that RL " +
      "started from, one attempt each, to tell what RL learned from what carries over to held-out scenarios; 0: none.",
  ),
  allow_overlap: z.boolean().default(false).describe(
    "Accept scenarios of this split that are the same as training ones: same task, setup and expectations. Success on " +
      "them does not show that the policy generalises.",
  ),
  target: z.number().gt(0).max(1).optional().describe(
    "Success rate on validation; the verdict tells the time and the rollouts that it took to reach it.",
  ).meta({ examples: [0.8] }),
  export: z.enum(["tuned", "best_on_validation"]).default("tuned").describe(
    "Policy to export: the tuned one, or the warm start if its success on validation (`validation_scenarios`) is higher.",
  ),
  success_at: z.number().gt(0).max(1).default(1).describe("Minimum score from decisive judges that counts as success."),
});

const limits = z.strictObject({
  wall_clock_secs: positive().optional().describe(
    "Time limit for training and verdict, including earlier starts of a resumed run; training stops early enough for the verdict.",
  )
    .meta({ examples: [720] }),
  rollouts: count().optional().describe("Number of rollouts after which training stops and the verdict is made.").meta({
    examples: [5000],
  }),
  tokens: count().optional().describe("Number of sampled tokens after which training stops and the verdict is made.")
    .meta({
      examples: [2000000],
    }),
  llm_calls: count().optional().describe(
    "Maximum number of language-model requests by stages (such as judges), including earlier starts of a resumed run; " +
      "cached replies do not count. Further requests fail, and the stage that made them decides what that means.",
  ).meta({ examples: [20000] }),
  llm_tokens: count().optional().describe(
    "Maximum prompt and reply tokens of those requests, as reported by the endpoints or else estimated; requests in " +
      "progress when the limit is reached are still completed.",
  ).meta({ examples: [5000000] }),
  usd: positive().optional().describe(
    "Maximum cost of those requests in US dollars, at the `price` in the settings of their endpoints, which each must then " +
      "state; requests in progress when the limit is reached are still completed.",
  ).meta({ examples: [5] }),
  result_bytes: count().default(1_000_000).describe(
    "Maximum bytes of one tool result in the run's records, and for judges. A longer one is cut, with a mark; the hash of the whole is kept.",
  ),
  disk_gb: positive().default(50).describe(
    "Disk space of the run's folder, in gigabytes, the folders of its servers included; a run that uses more is stopped, and can be resumed.",
  ),
});

const tape_mode = z.enum(["record", "replay", "live"]);
const tape_fields = z.strictObject({
  mode: tape_mode.default("live").describe("record: record the run; replay: replay a recorded one; live: neither."),
  path: z.string().min(1).optional().describe(
    "The tape, or the folder of the run that recorded it. Default: `tape.jsonl`, in the run's folder when recording and " +
      "next to the pipeline file when replaying.",
  ).meta({ examples: ["./tape.jsonl"] }),
  on_miss: z.enum(["fail", "live"]).default("fail").describe(
    "What a replay does if the tape has no matching record: end the rollout, or use the live server.",
  ),
  replies: z.boolean().optional().describe(
    "Whether the model's replies are on the tape too. Default: true for `agent.endpoint` and `evaluate.models`.",
  ).meta({ examples: [false] }),
});

const tape = z.union([tape_mode.transform((mode) => tape_fields.parse({ mode })), tape_fields]);

/** The whole pipeline file. */
export const pipeline_schema = z.strictObject({
  name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, "must be letters, digits, . _ or -, at most 63 of them")
    .describe("Name of the pipeline, and prefix of its runs' ids.").meta({ examples: ["files"] }),
  seed: z.int().min(0).default(0).describe("Random seed."),
  model: z.string().min(1).optional().describe(
    "Model to train: a Hugging Face id, a folder, or the name of a built-in small model.",
  )
    .meta({ examples: ["smollm2-135m", "Qwen/Qwen3-0.6B", "./models/mine"] }),
  agent: agent.prefault({}).describe("Prompt, sampling and limits of the agent."),
  servers: z.record(z.string().regex(/^[A-Za-z0-9_-]{1,32}$/, "must be letters, digits, _ or -, at most 32"), server)
    .prefault({}).describe("MCP servers by name, or the path to an `mcpServers` JSON file."),
  stages: z.array(stage).min(1).describe("The plugins of the pipeline, in order, with their settings.")
    .meta({ examples: [[{ use: "discoverer/mcp" }]] }),
  ladder: z.array(z.enum(["prompt", "warm_start", "rl"])).default(["warm_start", "rl"])
    .describe("Training stages (rungs) to run, in this order; without a trainer only `prompt`."),
  prompt: prompt.prefault({}).describe("The search for a better prompt: instructions and examples."),
  warm_start: warm_start.prefault({}).describe("The supervised warm start on verified demonstrations."),
  train: train.prefault({}).describe("On-policy reinforcement learning."),
  evaluate: evaluate.prefault({}).describe("The closing comparison."),
  tape: tape.prefault("live").describe(
    "Recording and replay of the responses of servers, judges and model: a mode, or a map.",
  ),
  limits: limits.prefault({}).describe("Limits of the run; those without a default do not apply if they are omitted."),
  allow_writes: z.boolean().default(false).describe(
    "Let rollouts call tools that are not read-only on shared servers.",
  ),
});

/** A parsed pipeline file with its defaults. */
export type PipelineConfig = z.output<typeof pipeline_schema>;
/** One entry of `servers:`. */
export type ServerConfig = z.output<typeof server>;
