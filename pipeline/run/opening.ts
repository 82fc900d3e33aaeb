/**
 * What a run begins with: records the catalog and how it differs from an earlier one, collects the scenarios of all
 * sources and refuses bad ones together, before anything is leased or trained.
 * @module
 */
import { missingSplits } from "../scenario/preview.ts";
import { type Diagnostic, HoneError, nearest, runner as messages } from "../diagnostics/mod.ts";
import type { Catalog, Scenario } from "../events.ts";
import { describeDrift } from "../mcp/catalog/drift.ts";
import { namedTools } from "../scenario/scenario_schema.ts";
import type { Completed } from "../store/recorded.ts";
import { emit, type RunContext } from "./context.ts";
import { warnLines } from "./progress/run_log.ts";

/** Reads every source, checks the scenarios against the catalog, and records them. */
export async function collectScenarios(ctx: RunContext, done: Completed): Promise<Scenario[]> {
  const scenarios: Scenario[] = [];
  for (const { id, role } of ctx.roles.sources) {
    for await (const scenario of role.produce(ctx.catalog)) {
      scenarios.push(scenario);
      if (!done.scenarios.has(scenario.id)) await ctx.bus.emit(id, "scenario.produced", scenario).ordered;
    }
  }
  const problems = scenarioProblems(scenarios, ctx.catalog);
  if (problems.length > 0) throw new HoneError(problems);
  const missing = missingSplits(ctx.config, scenarios);
  if (missing.length > 0) throw new HoneError(missing);
  return scenarios;
}

/** Records discovery; refuses to go on where the servers are no longer what the run began with. */
export async function recordCatalog(ctx: RunContext, catalog: Catalog, done: Completed) {
  if (done.catalog === null) {
    await emit(ctx, ctx.roles.discoverer?.id ?? "runner", "catalog.discovered", catalog);
    return;
  }
  const changes = describeDrift(done.catalog, catalog);
  if (changes.length === 0) return;
  if (!ctx.accept_changes) throw new HoneError(messages.catalog_changed(changes));
  warnLines(ctx.log, messages.catalog_accepted(changes));
  const { schema_hash } = catalog;
  await emit(ctx, "runner", "catalog.changed", { found: "resumed", changes, schema_hash, catalog });
}

/** Records how the servers differ from those that a policy was trained with: its evaluation is on other tools. */
export async function compareCatalog(ctx: RunContext, trained: Catalog) {
  const changes = describeDrift(trained, ctx.catalog);
  if (changes.length === 0) return;
  warnLines(ctx.log, messages.catalog_differs(changes));
  const { schema_hash } = ctx.catalog;
  await emit(ctx, "runner", "catalog.changed", { found: "evaluated", changes, schema_hash });
}

/** Ids used twice, and calls or tool lists that name what no server has. */
function scenarioProblems(scenarios: Scenario[], catalog: Catalog): Diagnostic[] {
  const known = new Set(catalog.tools.flatMap((tool) => [tool.name, tool.model_name]));
  const seen = new Set<string>();
  const problems: Diagnostic[] = [];
  for (const scenario of scenarios) {
    if (seen.has(scenario.id)) problems.push(messages.duplicate_scenario(scenario.id));
    seen.add(scenario.id);
    for (const tool of new Set(namedTools(scenario).map(({ tool }) => tool))) {
      if (!known.has(tool)) {
        problems.push(messages.unknown_tool_in_scenario(scenario.id, tool, nearest(tool, known), [...known]));
      }
    }
  }
  return problems;
}
