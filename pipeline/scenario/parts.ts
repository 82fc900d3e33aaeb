/**
 * The judges' parts of scenarios: each judge owns a part, under `expect.<name of the judge>` or as a top-level field
 * (`checks`, `answer`, `calls`). The tools that a scenario names are found through the parts, without knowing any
 * judge.
 * @module
 */
import { type Diagnostic, runner } from "../diagnostics/mod.ts";
import type { CallSpec, Json, Scenario } from "../events.ts";
import type { Expectation, NamedCall, ScenarioPart } from "../plugin.ts";

/** The fields of a judge's plugin that define its part. */
interface Owner {
  name: string;
  expects?: Expectation;
}

/** The part of a judge, or undefined; `decides` if a decisive judge of the pipeline reads it. */
export function asPart({ name, expects }: Owner, decides: boolean): ScenarioPart | undefined {
  return expects && { ...expects, judge: name, place: expects.field ?? `expect.${name}`, decides };
}

/** A scenario's part for a judge; undefined if it is missing, or an empty list or map. */
export function partOf(scenario: Scenario, { judge, field }: Pick<ScenarioPart, "judge" | "field">): Json | undefined {
  const fields = scenario as unknown as Record<string, Json | undefined>;
  const part = field === undefined ? scenario.expect?.[judge] : fields[field];
  const empty = typeof part === "object" && part !== null && Object.keys(part).length === 0;
  return empty ? undefined : part;
}

/** The calls that a scenario's parts name, with their parts. */
export function namedCalls(scenario: Scenario, parts: readonly ScenarioPart[]): (NamedCall & { part: ScenarioPart })[] {
  return parts.flatMap((part) => {
    const expected = part.calls && partOf(scenario, part);
    return expected === undefined ? [] : part.calls!(expected).map((named) => ({ ...named, part }));
  });
}

/** The calls that judges make to observe a scenario's end state. */
export function observedCalls(scenario: Scenario, parts: readonly ScenarioPart[]): CallSpec[] {
  return namedCalls(scenario, parts).filter((named) => named.as === "observed")
    .map(({ call }) => ({ ...call, arguments: call.arguments ?? {} }));
}

/** Tools that a scenario names, each with the field that names it and its path in the scenario. */
export function namedTools(
  scenario: Scenario,
  parts: readonly ScenarioPart[],
): { field: string; tool: string; path: (string | number)[] }[] {
  const { tools = [], setup, solution } = scenario;
  const at = (path: (string | number)[], tool: string) => ({ field: String(path[0]), tool, path });
  const each = (path: (string | number)[], list: { tool: string }[] = []) =>
    list.map(({ tool }, index) => at([...path, index, "tool"], tool));
  return [
    ...tools.map((tool, index) => at(["tools", index], tool)),
    ...each(["setup", "calls"], setup?.calls),
    ...each(["solution", "calls"], solution?.calls),
    ...namedCalls(scenario, parts).map(({ part, call, path }) => ({
      field: part.place,
      tool: call.tool,
      path: [...part.place.split("."), ...path],
    })),
  ];
}

/** Invalid parts of scenarios that do not come from a file. */
export function partProblems(scenario: Scenario, parts: readonly ScenarioPart[]): Diagnostic[] {
  const unknown = Object.keys(scenario.expect ?? {}).filter((name) => !parts.some(({ judge }) => judge === name));
  return [
    ...unknown.map((name) => runner.unknown_part(scenario.id, name, parts.map(({ judge }) => judge))),
    ...parts.flatMap((part) => {
      const expected = partOf(scenario, part);
      const parsed = expected === undefined ? undefined : part.schema.safeParse(expected);
      if (!parsed || parsed.success) return [];
      const { path, message } = parsed.error.issues[0]!;
      return [runner.bad_part(scenario.id, [part.place, ...path].join("."), message)];
    }),
  ];
}
