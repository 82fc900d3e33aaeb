/**
 * The schema of a scenario as a person writes it: only the task is needed. Every field described.
 * @module
 */
import { z } from "zod";
import type { Scenario } from "../events.ts";

const json = z.json();
const object = z.record(z.string(), z.json());

const below = z.string().min(1).refine(
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

const matcher = {
  equals: json.optional().describe("The value; text forgives one newline at its end.").meta({ examples: ["maple"] }),
  contains: z.string().optional().describe("A part of the text.").meta({ examples: ["maple"] }),
  matches: pattern.optional().describe("A regular expression that the text matches.").meta({ examples: ["^maple"] }),
  tolerance: z.number().min(0).optional().describe("Numbers are equal within this (with `equals`).")
    .meta({ examples: [0.01] }),
};

const one_key = (value: object) => ["equals", "contains", "matches"].filter((key) => key in value).length <= 1;
const ONE_KEY = "must have at most one of equals, contains and matches";

const call = z.strictObject({
  server: z.string().optional().describe("Server of the tool; needed where two have one of its name.")
    .meta({ examples: ["files"] }),
  tool: z.string().min(1).describe("Name of the tool.").meta({ examples: ["write_file"] }),
  arguments: object.default({}).describe("Arguments of the call."),
});

const check = z.strictObject({
  file: below.optional().describe("A file that is there after the episode.").meta({ examples: ["notes.txt"] }),
  absent: below.optional().describe("A path that is not there.").meta({ examples: ["old.txt"] }),
  directory: below.optional().describe("A folder that is there.").meta({ examples: ["box"] }),
  call: call.optional().describe("A reading call whose answer is compared.")
    .meta({ examples: [{ tool: "read_text_file", arguments: { path: "notes.txt" } }] }),
  path: z.string().optional().describe("Where in the call's answer to look.").meta({ examples: ["items.0.name"] }),
  ...matcher,
}).refine(
  (value) => ["file", "absent", "directory", "call"].filter((key) => key in value).length === 1,
  "must have exactly one of file, absent, directory and call",
).refine(one_key, ONE_KEY);

/** One scenario of a file. */
export const scenario_schema = z.strictObject({
  id: z.string().min(1).optional().describe("Unique name; the file's name and a number when left out.")
    .meta({ examples: ["move-01"] }),
  task: z.string().trim().min(1).describe("What the agent is asked to do.")
    .meta({ examples: ['Write "maple" to "tree".'] }),
  split: z.enum(["train", "validation", "heldout"]).optional()
    .describe("What it is for; the stage's `split` when left out.").meta({ examples: ["train"] }),
  tags: z.array(z.string()).default([]).describe("Families that it belongs to; the first one balances training."),
  setup: z.strictObject({
    files: z.record(below, z.string()).optional().describe("Files by path.").meta({ examples: [{ "a.txt": "maple" }] }),
    directories: z.array(below).optional().describe("Folders.").meta({ examples: [["box"]] }),
    calls: z.array(call).optional().describe("Calls made after that, in order.").meta({ examples: [[]] }),
  }).optional().describe("What is there when the episode begins.").meta({
    examples: [{ files: { "a.txt": "maple" } }],
  }),
  checks: z.array(check).default([]).describe("What must hold after the episode; read by judge/state."),
  answer: z.strictObject(matcher).refine(one_key, ONE_KEY).optional()
    .describe("The expected answer; read by judge/answer.").meta({ examples: [{ equals: "maple" }] }),
  calls: z.strictObject({
    expected: z.array(call).optional().describe("Calls that must be made.").meta({ examples: [[]] }),
    forbidden: z.array(z.string()).optional().describe("Tools that must not be called.").meta({ examples: [["rm"]] }),
    max: z.int().min(0).optional().describe("Most calls.").meta({ examples: [3] }),
  }).optional().describe("Expected calls; read by judge/calls.").meta({ examples: [{ max: 3 }] }),
  solution: z.strictObject({
    calls: z.array(call).describe("Calls that reach the goal, in order.").meta({ examples: [[]] }),
    answer: z.string().default("Done.").describe("The closing answer."),
  }).optional().describe("A reference solution, replayed before it teaches.").meta({ examples: [{ calls: [] }] }),
  tools: z.array(z.string()).optional().describe(
    "Tools that the agent is offered, exactly; when left out all, or within `agent.tool_budget_tokens` those that it needs and others.",
  )
    .meta({ examples: [["write_file"]] }),
});

/** A scenario as it was read; `id` and `split` may still be missing. */
export type WrittenScenario = z.output<typeof scenario_schema>;

/** Fills in what the file left out. */
export function asScenario(written: WrittenScenario, id: string, split: Scenario["split"]): Scenario {
  // The schema says what a check is by its refinements, which types cannot follow.
  return { ...written, id: written.id ?? id, split: written.split ?? split } as Scenario;
}

/** Tools that a scenario names, each with the field that names it. */
export function namedTools(scenario: Scenario): { field: string; tool: string; path: (string | number)[] }[] {
  const { tools = [], checks, setup, solution, calls } = scenario;
  const at = (path: (string | number)[], tool: string) => ({ field: String(path[0]), tool, path });
  const each = (path: (string | number)[], list: { tool: string }[] = []) =>
    list.map(({ tool }, index) => at([...path, index, "tool"], tool));
  return [
    ...tools.map((tool, index) => at(["tools", index], tool)),
    ...checks.flatMap((check, index) =>
      "call" in check ? [at(["checks", index, "call", "tool"], check.call.tool)] : []
    ),
    ...each(["setup", "calls"], setup?.calls),
    ...each(["solution", "calls"], solution?.calls),
    ...each(["calls", "expected"], calls?.expected),
    ...(calls?.forbidden ?? []).map((tool, index) => at(["calls", "forbidden", index], tool)),
  ];
}
