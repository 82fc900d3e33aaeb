/** `hone scenarios check`: checks a pipeline's scenarios by trials on the real servers. @module */
import { z } from "zod";
import { loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { cli, counted, HoneError, render } from "../../pipeline/diagnostics/mod.ts";
import type { ScenarioCheck } from "../../pipeline/run/scenario_check.ts";
import { builtins } from "../../plugins/mod.ts";
import { approval } from "./consent.ts";
import { overridesOf, performing } from "./new_run.ts";
import { oneLine } from "./table.ts";
import { defineVerb, indented } from "./verb.ts";

const splits = ["train", "validation", "heldout"] as const;

const finding = z.object({
  scenario: z.string().describe("Id of the scenario."),
  split: z.enum(splits),
  level: z.enum(["error", "warning"]).describe("A warning may have a good reason."),
  code: z.string().describe("Stable code of the finding, such as SOLUTION_FAILS."),
  message: z.string(),
  hint: z.string().optional().describe("What to do next."),
});

/** Of an id in text. */
const WIDEST_ID = 200;

export default defineVerb({
  name: "scenarios check",
  summary: "Check scenarios by trials on the real servers.",
  description:
    "Starts the pipeline's servers and plays every scenario, without model or trainer: its reference solution, which has " +
    "to reach the goal; nothing at all, which must not; and the solution with one value replaced, which the checks " +
    "have to notice. Also names reference answers that no tool result supports. Nothing is recorded. Exits with 1 if " +
    "something is wrong.",
  effect: "runs",
  positional: [{ name: "pipeline", description: "The pipeline's YAML file." }],
  args: z.strictObject({
    split: z.enum(splits).optional().describe("Check the scenarios of this split. Default: all."),
    strict: z.boolean().default(false).describe("Also exit with 1 for warnings."),
    set: z.array(z.string()).default([]).describe(
      "Override a value of the file, for example train.concurrency=8; repeatable.",
    ),
    ...performing,
  }),
  result: z.object({
    scenarios: z.int().describe("Scenarios that were checked."),
    solutions: z.int().describe("Of these, scenarios with a reference solution."),
    solved: z.int().describe("Of these, scenarios whose solution reaches the goal."),
    trials: z.int().describe("Rollouts that were played and judged."),
    findings: z.array(finding).describe("In the order of the scenarios."),
    failed: z.boolean().describe("True if there is an error, or with `strict` a warning."),
  }),
  examples: [
    "hone scenarios check examples/files/pipeline.yaml",
    "hone scenarios check my.yaml --split heldout --format json",
  ],
  async run(call): Promise<ScenarioCheck & { failed: boolean }> {
    const { args, positional, signal, caller } = call;
    const options = { builtins, signal, overrides: overridesOf(args.set), approve: approval(call, positional[0]!) };
    const loaded = await loadPipeline(positional[0]!, options);
    // Loaded once the pipeline is known to be valid: they load the database.
    const { withScenarios } = await import("../../pipeline/run/open_run.ts");
    const { checkScenarios } = await import("../../pipeline/run/scenario_check.ts");
    const checked = await withScenarios(loaded, {
      signal,
      on_progress: (read) => caller.progress(read),
      on_log: (level, message) => (level !== "debug" || args.verbose) && caller.log(level, message),
    }, async (run) => {
      const chosen = run.scenarios.filter(({ split }) => args.split === undefined || split === args.split);
      if (chosen.length === 0) throw new HoneError(cli.no_scenarios_to_check(args.split));
      return await checkScenarios(run, chosen);
    });
    const failed = checked.findings.some(({ level }) => level === "error" || args.strict);
    return { ...checked, failed };
  },
  formats: { json: indented },
  text: ({ findings, ...figures }) => [...findings.map(shown), summary({ findings, ...figures })].join("\n"),
  exit: ({ failed }) => failed ? 1 : 0,
});

function shown({ scenario, split, level, code, message, hint }: ScenarioCheck["findings"][number]): string {
  const text = render([{ code, message, hint }], "text").replace(/^error/, level);
  return `${oneLine(scenario, WIDEST_ID)} (${split}) ${text}`;
}

/** One line: the total of each finding. */
function summary({ scenarios, solutions, solved, trials, findings }: ScenarioCheck): string {
  const total = (code: string) => new Set(findings.filter((one) => one.code === code).map((one) => one.scenario)).size;
  const parts: [number, string][] = [
    [total("SCENARIO_NOT_JUDGED"), "could not be judged"],
    [total("SCENARIO_TRIVIAL"), "satisfied by doing nothing"],
    [total("ARGUMENT_NOT_CHECKED"), "satisfied by contradictory solutions"],
    [total("ANSWER_UNSUPPORTED"), "with an answer that no tool result supports"],
    [total("SCENARIO_WITHOUT_SOLUTION"), "without a reference solution"],
  ];
  const wrong = parts.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
  return [
    `${
      counted(scenarios, "scenario")
    }: ${solved} of ${solutions} reference solutions reach their goal on the real server`,
    ...wrong,
    `${counted(trials, "trial")}`,
  ].join("; ");
}
