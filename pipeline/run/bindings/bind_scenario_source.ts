/**
 * catalog.discovered → scenario sources, concurrently → scenario.produced …, and scenarios.completed when the last
 * source is done and all scenarios are valid: invalid ones are reported together, before anything is leased or trained.
 * @module
 */
import type { Out } from "../../bus.ts";
import { untilAborted } from "../../common/deadline.ts";
import { counted, type Diagnostic, HoneError, nearest, runner as messages } from "../../diagnostics/mod.ts";
import type { Catalog, Scenario, Split } from "../../events.ts";
import type { ScenarioPart } from "../../plugin.ts";
import { declaredServers } from "../../mcp/declared/permitted.ts";
import { namedTools, partProblems } from "../../scenario/parts.ts";
import { missingSplits } from "../../scenario/preview.ts";
import { overlappingSplits, smallSplit } from "../../scenario/split_checks.ts";
import { serverProblems } from "../../scenario/server_needs.ts";
import type { Bound } from "../bindings.ts";
import type { Run } from "../context.ts";
import { sourceTools } from "../source_tools.ts";

/** Binds every scenario source. */
export function bind(run: Run): Bound[] {
  const { sources } = run.roles;
  const produced: Scenario[][] = sources.map(() => []);
  let open = sources.length;
  const tools = sourceTools(run);
  return sources.map(({ id, role }, index) => ({
    stage: id,
    on: {
      "catalog.discovered": async (_, out) => {
        run.progress.begin("scenarios", 0);
        const scenarios = role.produce(run.catalog, run.parts, await tools(id, out.cause));
        for await (const scenario of untilAborted(run.signal, eachOf(scenarios))) {
          produced[index]!.push(scenario);
          await out.deliver("scenario.produced", scenario, run.recorded.scenarios.has(scenario.id));
        }
        if (--open === 0) await complete(run, produced.flat(), out);
      },
    },
  }));
}

async function* eachOf(scenarios: AsyncIterable<Scenario> | Iterable<Scenario>): AsyncGenerator<Scenario> {
  yield* scenarios;
}

async function complete(run: Run, scenarios: Scenario[], { deliver }: Out) {
  const problems = scenarioProblems(scenarios, run.catalog, run.parts);
  const servers = declaredServers(run.config.servers, run.config.allow_writes);
  for (const scenario of scenarios) {
    problems.push(...serverProblems(scenario, run.parts, servers).map(({ diagnostic }) => diagnostic));
  }
  if (problems.length === 0) problems.push(...missingSplits(run.config, scenarios));
  const hosted = run.roles.trainer?.role.mode === "hosted";
  if (problems.length === 0 && !run.measured) problems.push(...overlappingSplits(run.config, hosted, scenarios));
  if (problems.length > 0) throw new HoneError(problems);
  const warning = smallSplit(run.config, scenarios);
  if (warning !== undefined) run.log.warn(warning);
  run.scenarios = scenarios;
  const count = (split: Split) => scenarios.filter((scenario) => scenario.split === split).length;
  const [train, validation, heldout] = [count("train"), count("validation"), count("heldout")];
  const known = scenarios.every(({ id }) => run.recorded.scenarios.has(id));
  run.log.info(
    `${
      counted(run.catalog.tools.length, "tool")
    }, scenarios: ${train} train, ${validation} validation, ${heldout} held-out`,
  );
  await deliver("scenarios.completed", { train, validation, heldout }, known);
}

/** Duplicate ids, invalid parts, and calls or tool lists with tools that no server has. */
function scenarioProblems(scenarios: Scenario[], catalog: Catalog, parts: ScenarioPart[]): Diagnostic[] {
  const known = new Set(catalog.tools.flatMap((tool) => [tool.name, tool.model_name]));
  const seen = new Set<string>();
  const problems: Diagnostic[] = [];
  for (const scenario of scenarios) {
    if (seen.has(scenario.id)) problems.push(messages.duplicate_scenario(scenario.id));
    seen.add(scenario.id);
    problems.push(...partProblems(scenario, parts));
    for (const tool of new Set(namedTools(scenario, parts).map(({ tool }) => tool))) {
      if (!known.has(tool)) {
        problems.push(messages.unknown_tool_in_scenario(scenario.id, tool, nearest(tool, known), [...known]));
      }
    }
  }
  return problems;
}
