/**
 * Schemas for plugins (`@hone/hone/schemas`): for the parts of judges (calls, paths below a rollout's folder, matchers
 * of values), and for settings that name a language model. Separate from `mod.ts`, so that the command line can start
 * without loading the schema library.
 * @module
 */
import { z } from "zod";
import { patternProblem } from "../common/pattern.ts";
import type { CallSpec, Matcher } from "../events.ts";

export { llm_endpoint, llm_sampling } from "../llm/endpoint_schema.ts";

/** A path below the rollout's own folder. */
export const path_below: z.ZodType<string> = z.string().min(1).max(4096).refine(
  (path) => !path.startsWith("/") && !/^[A-Za-z]:/.test(path) && !path.split(/[\\/]/).includes(".."),
  "must be a path below the rollout's own folder",
);

const pattern = z.string().superRefine((source, context) => {
  const problem = patternProblem(source);
  if (problem !== undefined) context.addIssue({ code: "custom", message: `must be a regular expression${problem}` });
});

/**
 * The fields of a matcher, to be spread into a schema; at most one of the first three is allowed, see `one_matcher`.
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
  tolerance: z.number().min(0).optional().describe(
    "With `equals` and numbers, at any depth: how far the value may be from the expected one.",
  ).meta({ examples: [0.01] }),
};

/** Arguments of `refine`: a matcher compares in at most one way. */
export const one_matcher: [(value: object) => boolean, string] = [
  (value) => ["equals", "contains", "matches"].filter((key) => key in value).length <= 1,
  "must have at most one of equals, contains and matches",
];

/** A matcher as a complete schema. */
export const matcher_schema: z.ZodType<Matcher> = z.strictObject(matcher_fields).refine(...one_matcher);

/** A call, as written in a scenario. */
export const call_schema: z.ZodType<CallSpec> = z.strictObject({
  server: z.string().optional().describe("Server of the tool; required if several servers have a tool of this name.")
    .meta({ examples: ["files"] }),
  tool: z.string().min(1).describe("Name of the tool.").meta({ examples: ["write_file"] }),
  arguments: z.record(z.string(), z.json()).default({}).describe("Arguments of the call, by name."),
});
