/**
 * The schema of a scenario in a file: only the task is required. Judges' expectations have schemas of their own, which
 * come with the judges' parts.
 * @module
 */
import { z } from "zod";
import type { Scenario } from "../events.ts";
import type { ScenarioPart } from "../plugin.ts";
import { call_schema, path_below, path_beside } from "./part_schemas.ts";

/** Levels of difficulty, from the lowest. */
const LEVELS = ["easy", "medium", "hard"] as const;

const loose = z.looseObject({});

const core = z.strictObject({
  id: z.string().min(1).optional().describe(
    "Name of the scenario, unique in the pipeline. Default: the file's name and a number, as in `tasks-1`.",
  ).meta({ examples: ["move-01"] }),
  task: z.string().trim().min(1).describe("The request to the agent; the only required field.")
    .meta({ examples: ['Write "maple" to "tree.txt".'] }),
  split: z.enum(["train", "validation", "heldout"]).optional().describe(
    "`train`: for the warm start and RL; `validation`: for choosing checkpoints (`train.validate_every`); `heldout`: for " +
      "the verdict. Default: the `split` of the stage, which is `train` unless set.",
  ).meta({ examples: ["heldout"] }),
  tags: z.array(z.string()).default([]).describe(
    "Groups that the scenario belongs to. The report shows success by tag; training takes equal numbers of each first tag.",
  ).meta({ examples: [["write", "one-call"]] }),
  difficulty: z.union([z.enum(LEVELS), z.number().min(0).max(1)]).optional().describe(
    "How hard you expect the scenario to be: `easy`, `medium` or `hard`; or a number from 0 (every attempt succeeds) to 1 " +
      "(none does), of which each level is a third. Becomes the last tag, as in `difficulty:hard`, so that the report " +
      "shows success by it. How hard a policy finds it is measured by `train.difficulty`.",
  ).meta({ examples: ["hard"] }),
  setup: z.strictObject({
    fixture: path_beside.optional().describe(
      "Folder, relative to the pipeline file and below its folder, whose contents are copied to `${workdir}`, after the " +
        "`fixture` of the server.",
    ).meta({ examples: ["./fixtures/forest"] }),
    files: z.record(path_below as z.ZodString, z.string()).optional().describe(
      "Texts of files by path, below the rollout's own folder `${workdir}`.",
    ).meta({ examples: [{ "tree.txt": "maple" }] }),
    directories: z.array(path_below).optional().describe("Paths of folders, below `${workdir}`.")
      .meta({ examples: [["box"]] }),
    calls: z.array(call_schema).optional().describe(
      "Tool calls that hone makes after that, in order; `${workdir}` in an argument is replaced.",
    ).meta({ examples: [[]] }),
  }).optional().describe("State of the rollout's environment before the agent starts.").meta({
    examples: [{ files: { "tree.txt": "maple" }, directories: ["box"] }, { fixture: "./fixtures/forest" }, {
      calls: [{
        server: "memory",
        tool: "create_entities",
        arguments: { entities: [{ name: "Ada", entityType: "person", observations: [] }] },
      }],
    }],
  }),
  checks: z.array(loose).default([]).describe("Conditions on the end state; read by judge/state."),
  answer: loose.optional().describe("The expected answer; read by judge/answer.").meta({
    examples: [{ equals: "maple" }],
  }),
  calls: loose.optional().describe("Expected calls; read by judge/calls.").meta({ examples: [{ max: 3 }] }),
  expect: z.record(z.string(), z.json()).optional().describe(
    "What the pipeline's own judges expect, by the judge's name; each judge defines the fields of its part.",
  ).meta({ examples: [{ polite: { word: "thank" } }] }),
  solution: z.strictObject({
    calls: z.array(call_schema).describe("Calls that reach the goal, in order.").meta({ examples: [[]] }),
    answer: z.string().default("Done.").describe("The closing answer."),
  }).optional().describe(
    "A reference solution for the warm start; used only if its replay on the real server satisfies the judges.",
  ).meta({
    examples: [{
      calls: [{ server: "files", tool: "write_file", arguments: { path: "tree.txt", content: "maple" } }],
      answer: "I wrote it.",
    }],
  }),
  tools: z.array(z.string()).optional().describe(
    "Exactly the tools that the agent is offered, in place of all; the choice of `agent.tool_budget_tokens` does not apply.",
  )
    .meta({ examples: [["write_file", "move_file"]] }),
});

/** The schema of one scenario in a file, given the parts that judges read. */
export function scenarioSchema(parts: readonly ScenarioPart[]) {
  const own = parts.filter(({ field }) => field === undefined);
  const at_top = Object.fromEntries(
    parts.filter(({ field }) => field).map(({ field, schema }) => {
      return [field!, field === "checks" ? schema.default([]) : schema.optional()];
    }),
  );
  const expect = own.length > 0 && {
    expect: z.strictObject(Object.fromEntries(own.map(({ judge, schema }) => [judge, schema.optional()]))).optional()
      .describe(core.shape.expect.description!).meta({ examples: own.flatMap(exampleOf) }),
  };
  return core.extend({ ...at_top, ...expect }) as unknown as typeof core;
}

/** A valid `expect` with the part of one judge, if its schema has an example. */
function exampleOf({ judge, schema }: ScenarioPart): Record<string, unknown>[] {
  const { examples } = (schema.meta() ?? {}) as { examples?: unknown[] };
  return examples?.length ? [{ [judge]: examples[0] }] : [];
}

/** A parsed scenario; `id` and `split` may still be missing. */
export type WrittenScenario = z.output<typeof core>;

/** Fills in a missing id and split, and tags the scenario with its difficulty. */
export function asScenario(written: WrittenScenario, id: string, split: Scenario["split"]): Scenario {
  const { difficulty } = written;
  const tags = difficulty === undefined ? written.tags : [...written.tags, `difficulty:${levelOf(difficulty)}`];
  return { ...written, id: written.id ?? id, split: written.split ?? split, tags };
}

function levelOf(difficulty: NonNullable<WrittenScenario["difficulty"]>): (typeof LEVELS)[number] {
  if (typeof difficulty === "string") return difficulty;
  return LEVELS[Math.min(2, Math.floor(difficulty * 3))]!;
}
