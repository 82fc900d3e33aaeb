/** A program's answer to the handshake. @module */
import { z } from "zod";

const schema = z.record(z.string(), z.unknown());

/** The answer to `hello`. */
export const hello_schema = z.object({
  kind: z.string(),
  name: z.string(),
  summary: z.string(),
  /** JSON Schema of its settings. */
  config: schema.default({ type: "object", properties: {}, additionalProperties: false }),
  examples: z.array(z.object({ title: z.string(), with: z.record(z.string(), z.json()) })).default([]),
  /** Of a judge. */
  scale: z.enum(["absolute", "relative"]).default("absolute"),
  decisive: z.boolean().default(false),
  observe: z.boolean().default(false),
  observe_before: z.boolean().default(false),
  /** Of a judge: JSON Schema of what it expects of a scenario. */
  expects: schema.optional(),
  /** Of a judge: the names of its scores' parts. */
  parts: z.array(z.string()).optional(),
});

/** The answer to `hello`, read. */
export type Hello = z.output<typeof hello_schema>;
