/**
 * Checks scenarios by trials on the real server: whether reference solutions reach their goal, whether doing nothing
 * does, whether altered solutions are accepted too, and whether reference answers are supported by what the agent sees.
 * @module
 */
import { Semaphore } from "../common/semaphore.ts";
import { type Diagnostic, scenarioChecks as say } from "../diagnostics/mod.ts";
import type { Scenario } from "../events.ts";
import { isReadOnly } from "../mcp/declared/permitted.ts";
import type { Trial } from "../plugin.ts";
import { unsupportedValues } from "../scenario/answer_support.ts";
import { type Alteration, alteredAnswer, alteredCalls } from "./altered_solution.ts";
import type { Run } from "./context.ts";
import { trial } from "./trial.ts";

/** Something to know about a scenario. */
export interface Finding extends Diagnostic {
  scenario: string;
  split: Scenario["split"];
  /** A warning may have a good reason. */
  level: "error" | "warning";
}

/** Codes of findings that say how a scenario could be better, not that it is wrong. */
const WARNINGS = ["ANSWER_UNSUPPORTED", "SCENARIO_WITHOUT_SOLUTION", "ARGUMENT_FREE"];

/** The result of a check. */
export interface ScenarioCheck {
  scenarios: number;
  /** Scenarios with a reference solution, and those whose replay reached the goal. */
  solutions: number;
  solved: number;
  trials: number;
  /** In the order of the scenarios. */
  findings: Finding[];
}

/** Plays a scenario once. */
type Plays = (scenario: Scenario, play: Parameters<typeof trial>[2]["play"]) => Promise<Trial>;

/** Checks scenarios of the run, at most `train.concurrency` trials at once. Throws only if the run ends. */
export async function checkScenarios(run: Run, scenarios: readonly Scenario[]): Promise<ScenarioCheck> {
  const places = new Semaphore(run.config.train.concurrency);
  let trials = 0;
  const plays: Plays = (scenario, play) =>
    places.use(() => {
      trials++;
      return trial(run, scenario, { play });
    }, run.signal);
  run.progress.begin("check scenarios", scenarios.length);
  const all = scenarios.map(async (scenario) => {
    const checked = await checkOne(run, scenario, plays);
    run.progress.advance();
    return checked;
  });
  // None may outlive the run's servers.
  await Promise.allSettled(all);
  const each = await Promise.all(all);
  return {
    scenarios: scenarios.length,
    solutions: scenarios.filter(({ solution }) => solution).length,
    solved: each.filter(({ solved }) => solved).length,
    trials,
    findings: each.flatMap(({ findings }) => findings),
  };
}

async function checkOne(run: Run, scenario: Scenario, plays: Plays): Promise<{ solved: boolean; findings: Finding[] }> {
  const findings: Finding[] = [];
  const find = (found: Diagnostic) => {
    const level = WARNINGS.includes(found.code) ? "warning" : "error";
    findings.push({ scenario: scenario.id, split: scenario.split, level, ...found });
  };
  const [idle, solved] = await Promise.all([
    plays(scenario, "nothing"),
    scenario.solution ? plays(scenario, "solution") : undefined,
  ]);
  if (!solved) find(say.no_solution());
  else if (solved.invalid === undefined && !solved.success) find(say.unsolved(failure(solved)));
  const invalid = solved?.invalid ?? idle.invalid;
  if (invalid !== undefined) find(say.not_judged(invalid));
  if (idle.success) find(say.trivial(idle.reason));
  if (solved?.success) {
    if (!idle.success) await findUnchecked(run, scenario, solved, plays, find);
    const values = unsupportedValues(scenario, solved.trajectory.tool_calls);
    if (values.length > 0) find(say.unsupported(scenario.solution!.answer, values));
  }
  return { solved: solved?.success ?? false, findings };
}

/** What the judges say, and the first call that failed, which is often the cause. */
function failure({ reason, trajectory }: Trial): string {
  const failed = trajectory.tool_calls.find(({ outcome }) => outcome !== "ok");
  return failed ? say.failed_call(reason, failed.tool, failed.outcome, failed.text) : reason;
}

async function findUnchecked(
  run: Run,
  scenario: Scenario,
  solved: Trial,
  plays: Plays,
  find: (found: Diagnostic) => void,
): Promise<void> {
  const accepted = await Promise.all(
    alterations(run, scenario, solved).map(async (altered) => {
      const { success, trajectory } = await plays(scenario, altered.solution);
      // What the server refuses is no end state.
      const made = altered.call === undefined || trajectory.tool_calls[altered.call]?.outcome === "ok";
      return success && made ? [altered] : [];
    }),
  );
  for (const { call, field, to, named } of accepted.flat()) {
    const tool = call === undefined ? undefined : scenario.solution!.calls[call]!.tool;
    find(say.accepted_too(tool, field, to, named));
  }
}

/**
 * Where a judge other than that of the answer decides, alterations of calls that may change something; of the answer,
 * where the scenario expects one.
 */
function alterations(run: Run, scenario: Scenario, { judgements, trajectory }: Trial): Alteration[] {
  const deciding = run.roles.judges.filter(({ id, role }) => role.decisive && "score" in judgements[id]!);
  const ofAnswer = deciding.filter(({ part }) => part?.field === "answer");
  const { tools } = run.catalog;
  const changes = (index: number) => {
    const { server, tool, outcome } = trajectory.tool_calls[index]!;
    const known = tools.find((one) => one.server === server && (one.name === tool || one.model_name === tool));
    return outcome === "ok" && !(known && isReadOnly(known, run.config.servers[server]));
  };
  return [
    ...(deciding.length > ofAnswer.length ? alteredCalls(scenario, { tools, changes }) : []),
    ...(ofAnswer.length > 0 ? [alteredAnswer(scenario)] : []),
  ];
}
