/**
 * Schemas for plugins (`@hone/hone/schemas`): for the parts of judges (calls, paths below a rollout's folder, matchers
 * of values), and for settings that name a language model. Separate from `mod.ts`, so that the command line can start
 * without loading the schema library.
 * @module
 */
import { z } from "zod";
import { patternProblem } from "../common/pattern.ts";
import { schemaProblem, uncheckedPatterns } from "../common/schema_check.ts";
import type { CallSpec, Json, JsonObject, Matcher } from "../events.ts";
import { WAYS } from "./match.ts";

export { llm_endpoint, llm_sampling } from "../llm/endpoint_schema.ts";

function relativePath(folder: string): z.ZodType<string> {
  return z.string().min(1).max(4096).refine(
    (path) => !path.startsWith("/") && !/^[A-Za-z]:/.test(path) && !path.split(/[\\/]/).includes(".."),
    `must be a path below ${folder}`,
  );
}

/** A path below the rollout's own folder. */
export const path_below: z.ZodType<string> = relativePath("the rollout's own folder");

/** A path below the pipeline's folder. */
export const path_beside: z.ZodType<string> = relativePath("the folder of the pipeline");

const pattern = z.string().superRefine((source, context) => {
  const problem = patternProblem(source);
  if (problem !== undefined) context.addIssue({ code: "custom", message: `must be a regular expression${problem}` });
});

/** A JSON Schema, of which everything is checked. */
export const json_schema: z.ZodType<JsonObject> = z.record(z.string(), z.json()).superRefine((schema, context) => {
  const problem = schemaProblem(schema) ?? uncheckedPatterns(schema)[0];
  if (problem !== undefined) context.addIssue({ code: "custom", message: `must be a JSON Schema: ${problem}` });
});

/**
 * The fields of a matcher, to be spread into a schema; at most one way of comparing is allowed, see `one_matcher`.
 */
export const matcher_fields = {
  equals: z.json().optional().describe(
    "The expected value, a text or any other JSON value. One newline at the end of a text is ignored; a text is read as " +
      "JSON if the expected value is not a text.",
  ).meta({ examples: ["maple"] }),
  contains: z.string().optional().describe(
    "Text that the value must contain; a value that is not a text is written as JSON first.",
  ).meta({ examples: ["maple"] }),
  matches: pattern.optional().describe(
    "Regular expression that must match somewhere in the value; `^` and `$` anchor it. JavaScript's syntax, without look-around and backreferences.",
  ).meta({ examples: ["^maple"] }),
  schema: json_schema.optional().describe(
    "JSON Schema that the value must fit; a text is read as JSON, if it is JSON.",
  ).meta({ examples: [{ type: "object", required: ["name"] }] }),
  set: z.array(z.json()).min(1).optional().describe(
    "The expected values of a list, in any order; repetition does not count. A text lists values as a JSON list, one a " +
      "line, or separated by commas.",
  ).meta({ examples: [["maple", "oak"]] }),
  tolerance: z.number().min(0).optional().describe(
    "With numbers in `equals` or `set`, at any depth: how far a value may be from the expected one.",
  ).meta({ examples: [0.01] }),
};

/** Arguments of `refine`: a matcher compares in at most one way. */
export const one_matcher: [(value: object) => boolean, string] = [
  (value) => WAYS.filter((way) => way in value).length <= 1,
  `must have at most one of ${WAYS.slice(0, -1).join(", ")} and ${WAYS.at(-1)}`,
];

/** Arguments of `refine`: a tolerance has numbers that it applies to. */
export const numeric_tolerance: [(value: object) => boolean, { path: string[]; message: string }] = [
  (value) => {
    const { equals = null, set = null, tolerance } = value as Matcher;
    return tolerance === undefined || hasNumber(equals) || hasNumber(set);
  },
  { path: ["tolerance"], message: "needs a number in `equals` or `set` that it applies to" },
];

function hasNumber(value: Json): boolean {
  if (value === null || typeof value !== "object") return typeof value === "number";
  return Object.values(value).some(hasNumber);
}

/** A matcher as a complete schema. */
export const matcher_schema: z.ZodType<Matcher> = z.strictObject(matcher_fields).refine(...one_matcher).refine(
  ...numeric_tolerance,
);

/** The fields of a call, to be spread into a schema. */
export const call_fields = {
  server: z.string().optional().describe("Server of the tool; required if several servers have a tool of this name.")
    .meta({ examples: ["files"] }),
  tool: z.string().min(1).describe("Name of the tool.").meta({ examples: ["write_file"] }),
  arguments: z.record(z.string(), z.json()).default({}).describe("Arguments of the call, by name."),
};

/** A call, as written in a scenario. */
export const call_schema: z.ZodType<CallSpec> = z.strictObject(call_fields);
