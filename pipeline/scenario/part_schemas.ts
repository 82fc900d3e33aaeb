/**
 * Pieces that the parts of judges are made of (`@hone/hone/schemas`): calls, paths below a rollout's folder, and how a value
 * is compared. Apart from `mod.ts`, so that what only starts the command line does not load the schema library.
 * @module
 */
import { z } from "zod";
import type { CallSpec, Matcher } from "../events.ts";

/** A path below the rollout's own folder. */
export const path_below: z.ZodType<string> = z.string().min(1).refine(
  (path) => !path.startsWith("/") && !/^[A-Za-z]:/.test(path) && !path.split(/[\\/]/).includes(".."),
  "must be a path below the rollout's own folder",
);

const pattern = z.string().refine((source) => {
  try {
    new RegExp(source, "u");
    return true;
  } catch {
    return false;
  }
}, "must be a regular expression");

/** The fields of a matcher, to be spread into a schema of its own; at most one of the first three, see `one_matcher`. */
export const matcher_fields = {
  equals: z.json().optional().describe("The value; text forgives one newline at its end.").meta({
    examples: ["maple"],
  }),
  contains: z.string().optional().describe("A part of the text.").meta({ examples: ["maple"] }),
  matches: pattern.optional().describe("A regular expression that the text matches.").meta({ examples: ["^maple"] }),
  tolerance: z.number().min(0).optional().describe("Numbers are equal within this (with `equals`).")
    .meta({ examples: [0.01] }),
};

/** Arguments of `refine`: a matcher has one way of comparing. */
export const one_matcher: [(value: object) => boolean, string] = [
  (value) => ["equals", "contains", "matches"].filter((key) => key in value).length <= 1,
  "must have at most one of equals, contains and matches",
];

/** A matcher by itself. */
export const matcher_schema: z.ZodType<Matcher> = z.strictObject(matcher_fields).refine(...one_matcher);

/** A call as a person writes it. */
export const call_schema: z.ZodType<CallSpec> = z.strictObject({
  server: z.string().optional().describe("Server of the tool; needed where two have one of its name.")
    .meta({ examples: ["files"] }),
  tool: z.string().min(1).describe("Name of the tool.").meta({ examples: ["write_file"] }),
  arguments: z.record(z.string(), z.json()).default({}).describe("Arguments of the call."),
});
