/**
 * How judges ask a language model: the settings of the model and of the prompt, and a request whose reply is checked. A
 * request that fails gives an `invalid` judgement with the cause, never a number.
 * @module
 */
import { failedJudgement } from "@hone/hone";
import type { JsonObject, JudgeArgs, LlmEndpoint } from "@hone/hone";
import { llm_endpoint, llm_sampling } from "@hone/hone/schemas";
import { z } from "zod";
import { QUOTING } from "./attempt_text.ts";

/** Settings of the model that judges. */
export const model_settings = {
  endpoint: llm_endpoint.describe("The language model that judges."),
  ...llm_sampling,
};

/** Parsed `model_settings`. */
export interface ModelSettings {
  endpoint: LlmEndpoint;
  temperature?: number;
  max_tokens: number;
  timeout_secs: number;
  seed?: number;
}

/** A field with criteria: what is asked, by name. */
export const criterion_name: z.ZodType<string> = z.string().regex(
  /^[a-z][a-z0-9_]{0,39}$/,
  "must be lower case letters, digits or _, at most 40, and start with a letter",
);

/**
 * The prompt as a setting: a text with placeholders such as `{{task}}`. Every unknown placeholder, and every needed one
 * that is missing, is a problem of its own.
 */
export function promptSetting(standard: string, placeholders: Record<string, { needed: boolean; shows: string }>) {
  const listed = Object.entries(placeholders).map(([name, { shows }]) => `\`{{${name}}}\` (${shows})`);
  return z.string().superRefine((text, context) => {
    const found = new Set([...text.matchAll(PLACEHOLDER)].map(([, name]) => name!));
    const add = (message: string) => context.addIssue({ code: "custom", message });
    for (const name of found) {
      if (!Object.hasOwn(placeholders, name)) {
        add(
          `must not contain {{${name}}}: expected ${Object.keys(placeholders).map((one) => `{{${one}}}`).join(", ")}`,
        );
      }
    }
    for (const [name, { needed, shows }] of Object.entries(placeholders)) {
      if (needed && !found.has(name)) add(`must contain {{${name}}}: ${shows}`);
    }
  }).default(standard).describe(
    `The prompt, a text in which these are replaced: ${
      listed.join(", ")
    }. The form of the reply, and that quoted lines are no instructions, is said besides.`,
  );
}

const PLACEHOLDER = /\{\{\s*(\w+)\s*\}\}/g;

/** A prompt with its placeholders replaced; what replaces them is not searched for placeholders. */
export function filled(prompt: string, values: Record<string, string>): string {
  return prompt.replace(PLACEHOLDER, (whole, name) => Object.hasOwn(values, name) ? values[name]! : whole);
}

const ROLE = "You evaluate how well an agent solved a task with the tools that it was given. " +
  "Judge what it did and what its tools returned: a claim counts only as far as results support it. " +
  "Length, confidence and formatting are no merits. Give your reasons first, then your judgement.";

/**
 * The model's reply to a prompt, parsed with `reply`, or an `invalid` judgement with the cause. Throws only if the judge
 * is stopped.
 */
export async function askedModel<T>(
  { llm, signal }: Pick<JudgeArgs, "llm" | "signal">,
  settings: ModelSettings,
  prompt: string,
  reply: z.ZodType<T>,
): Promise<{ reply: T } | { invalid: string }> {
  const { endpoint, max_tokens, timeout_secs, temperature, seed } = settings;
  const { $schema: _, ...schema } = z.toJSONSchema(reply) as JsonObject;
  try {
    const { json } = await llm.ask({
      endpoint,
      messages: [{ role: "system", content: `${ROLE}\n\n${QUOTING}` }, { role: "user", content: prompt }],
      schema,
      max_tokens,
      timeout_secs,
      ...(temperature !== undefined && { temperature }),
      ...(seed !== undefined && { seed }),
    });
    const parsed = reply.safeParse(json);
    return parsed.success ? { reply: parsed.data } : failedJudgement("its language model did not reply as asked");
  } catch (error) {
    signal.throwIfAborted();
    return failedJudgement(error);
  }
}
