/**
 * `hone.json` in an export: what is needed to use the weights as they were measured. A published schema
 * (docs/hone.schema.json); a reader of `adapter.v1` finds every field of it in later ones too.
 * @module
 */
import { z } from "zod";

const json = z.json();
const share = z.number().min(0).max(1);
const maybe = <T extends z.ZodType>(type: T) => type.nullable();

const tool = z.looseObject({
  server: z.string().describe("Server that has it."),
  name: z.string().describe("The server's own name of it."),
  model_name: z.string().describe("The name that the model saw."),
  description: z.string().describe("What the model was told of it."),
  input_schema: z.record(z.string(), json).describe("JSON Schema of its arguments."),
});

const interval = {
  mean: share.describe("Share of rollouts that succeeded."),
  low: share.describe("Lower end of the 95 % interval."),
  high: share.describe("Upper end."),
  n: z.int().describe("Rollouts."),
};

/** The contents of `hone.json`. */
export const hone_json = z.strictObject({
  schema: z.literal("adapter.v1").describe("Version of this schema."),
  policy: z.strictObject({
    name: z.string().describe("`tuned`, `warm_start`, or `base` where nothing was trained."),
    version: z.int().describe("Its version in the run."),
  }).describe("The policy that was exported."),
  base_model: z.looseObject({
    id: z.string().optional().describe("The model as the pipeline names it."),
    weights_sha256: maybe(z.string()).describe(
      "Hash of its weight files, in order of their names; null if not on disk.",
    ),
  }).describe("The model that the weights belong to."),
  template_sha256: maybe(z.string()).describe("Hash of the chat template."),
  stop_token_ids: z.array(z.int()).describe("Ids that end an answer."),
  system_prompt: z.string().describe("Stands first."),
  tool_format: z.string().describe("How tools were shown and calls read."),
  tools_text: z.string().describe("Stands below the system prompt; empty where the chat template renders the tools."),
  tools: z.array(tool).describe("The tools that were offered."),
  sampling: z.strictObject({ temperature: z.number(), top_p: z.number(), max_tokens: z.int() })
    .describe("How the policy is sampled by default."),
  limits: z.strictObject({
    max_turns: z.int(),
    max_tokens: z.int(),
    max_result_chars: z.int(),
    max_history_chars: maybe(z.int()).describe("null: as many as fit the context."),
    tool_budget_tokens: maybe(z.int()).describe("Where set, each scenario was offered a part of `tools` within it."),
  }).describe("Limits of a rollout."),
  tool_schemas: z.enum(["full", "compact"]).describe("What a template that renders tools was given of them."),
  catalog_schema_hash: z.string().describe("Hash over all names and schemas of the servers' tools."),
  servers: z.array(z.strictObject({
    name: z.string(),
    implementation: z.strictObject({ name: z.string(), version: z.string() }),
    protocol: z.string(),
  })).describe("The servers, with their versions."),
  verdict: z.record(z.string(), json).describe(
    "The closing comparison, in short; verdict.json of the run has all of it.",
  ),
  success: z.array(z.strictObject({ policy: z.string(), ...interval })).describe("Success by policy."),
  files: z.array(json).describe("Files of the weights, as the trainer lists them."),
  proof: z.record(z.string(), json).describe("What shows that the weights are what they say."),
});

/** The same as a type. */
export type HoneJson = z.output<typeof hone_json>;
