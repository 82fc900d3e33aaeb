/**
 * `hone.json` in an export: everything needed to use the weights as evaluated. The schema is published
 * (docs/hone.schema.json); later versions keep every field of `adapter.v1`.
 * @module
 */
import { z } from "zod";

const json = z.json();
const share = z.number().min(0).max(1);
const maybe = <T extends z.ZodType>(type: T) => type.nullable();

const tool = z.looseObject({
  server: z.string().describe("Server of the tool."),
  name: z.string().describe("The tool's name on the server."),
  model_name: z.string().describe("The name that the model saw."),
  description: z.string().describe("The description that the model saw."),
  input_schema: z.record(z.string(), json).describe("JSON Schema of its arguments."),
});

const interval = {
  mean: share.describe("Success rate of the rollouts."),
  low: share.describe("Lower end of the 95 % interval."),
  high: share.describe("Upper end of the 95 % interval."),
  n: z.int().describe("Rollouts."),
};

/** The contents of `hone.json`. */
export const hone_json = z.strictObject({
  schema: z.literal("adapter.v1").describe("Version of this schema."),
  policy: z.strictObject({
    name: z.string().describe("`tuned`, `warm_start`, or `base` if nothing was trained."),
    version: z.int().describe("Its version in the run."),
  }).describe("The exported policy."),
  base_model: z.looseObject({
    id: z.string().optional().describe("The model, as in the pipeline file."),
    hub_id: maybe(z.string()).optional().describe("Its name on the Hugging Face hub; null if unknown."),
    weights_sha256: maybe(z.string()).describe(
      "Hash of its weight files, concatenated in order of their names; null if they are not on disk.",
    ),
  }).describe("The base model of the weights."),
  template_sha256: maybe(z.string()).describe("Hash of the chat template."),
  stop_token_ids: z.array(z.int()).describe("Token ids that end a reply."),
  system_prompt: z.string().describe("The system prompt; the first part of the system message."),
  tool_format: z.string().describe("Format in which tools are shown and calls are parsed."),
  tools_text: z.string().describe("Text that follows the system prompt; empty if the chat template renders the tools."),
  tools: z.array(tool).describe("The offered tools."),
  sampling: z.strictObject({ temperature: z.number(), top_p: z.number(), max_tokens: z.int() })
    .describe("Default sampling of the policy."),
  limits: z.strictObject({
    max_turns: z.int(),
    max_tokens: z.int(),
    max_result_chars: z.int(),
    max_history_chars: maybe(z.int()).describe("null: as many as fit the model's context."),
    tool_budget_tokens: maybe(z.int()).describe("If set, each scenario was offered a subset of `tools` within it."),
  }).describe("Limits of a rollout."),
  tool_schemas: z.enum(["full", "compact"]).describe(
    "Detail of the tools passed to a chat template that renders them.",
  ),
  catalog_schema_hash: z.string().describe("Hash of all names and schemas of the servers' tools."),
  servers: z.array(z.strictObject({
    name: z.string(),
    implementation: z.strictObject({ name: z.string(), version: z.string() }),
    protocol: z.string(),
  })).describe("The servers, with their versions."),
  verdict: z.record(z.string(), json).describe(
    "Summary of the closing comparison; the run's verdict.json has the details.",
  ),
  success: z.array(z.strictObject({ policy: z.string(), ...interval })).describe("Success by policy."),
  files: z.array(json).describe("Files of the weights, as listed by the trainer."),
  proof: z.record(z.string(), json).describe("The trainer's checks that the weights load and match what was trained."),
});

/** The same as a type. */
export type HoneJson = z.output<typeof hone_json>;
