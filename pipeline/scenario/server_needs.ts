/**
 * What a scenario needs of the pipeline's servers and none of them gives: a folder of the rollout's own, or permission
 * to make a call. Such a scenario could not be set up or judged, so it is refused before the run.
 * @module
 */
import { type Diagnostic, mcp, scenarios as say } from "../diagnostics/mod.ts";
import type { CallSpec, Scenario } from "../events.ts";
import type { DeclaredServer, ScenarioPart } from "../plugin.ts";
import { namedCalls, partOf } from "./parts.ts";

/** A problem, and its path in the scenario. */
export interface ServerProblem {
  diagnostic: Diagnostic;
  path: (string | number)[];
}

/** Everything that the scenario needs and the servers do not give. */
export function serverProblems(
  scenario: Scenario,
  parts: readonly ScenarioPart[],
  servers: Record<string, DeclaredServer>,
): ServerProblem[] {
  const read = parts.filter(({ unread }) => !unread);
  const problems: ServerProblem[] = [];
  const [path] = folderPaths(scenario, read);
  if (path && !Object.values(servers).some(({ has_folder }) => has_folder)) {
    problems.push({ diagnostic: say.without_folder(scenario.id, placeOf(path)), path });
  }
  for (const { call, path } of madeCalls(scenario, read)) {
    if (call.server !== undefined && !Object.hasOwn(servers, call.server)) {
      problems.push({ diagnostic: mcp.unknown_server(call.server, Object.keys(servers)), path });
      continue;
    }
    const refusing = refusingServer(call, servers);
    if (!refusing) continue;
    problems.push({ diagnostic: say.call_refused(scenario.id, placeOf(path), call.tool, refusing), path });
  }
  return problems;
}

/** What names something in the rollout's own folder: the setup's files and folders, and judges' parts. */
function folderPaths({ setup, ...scenario }: Scenario, parts: readonly ScenarioPart[]): ServerProblem["path"][] {
  return [
    ...(setup?.fixture === undefined ? [] : [["setup", "fixture"]]),
    ...Object.keys(setup?.files ?? {}).map((file) => ["setup", "files", file]),
    ...(setup?.directories ?? []).map((_, index) => ["setup", "directories", index]),
    ...parts.flatMap((part) => {
      const expected = part.paths && partOf(scenario, part);
      return expected === undefined ? [] : part.paths!(expected).map((path) => [...part.place.split("."), ...path]);
    }),
  ];
}

/** Calls that hone itself makes: those of the setup, and judges' observations. */
function madeCalls(scenario: Scenario, parts: readonly ScenarioPart[]) {
  return [
    ...(scenario.setup?.calls ?? []).map((call, index) => ({ call, path: ["setup", "calls", index, "tool"] })),
    ...namedCalls(scenario, parts).filter(({ as }) => as === "observed")
      .map(({ call, part, path }) => ({ call, path: [...part.place.split("."), ...path] })),
  ];
}

/** A server that certainly denies the call; undefined if another may have the tool. */
function refusingServer(
  { server, tool }: Pick<CallSpec, "server" | "tool">,
  servers: Record<string, DeclaredServer>,
): string | undefined {
  const having = Object.entries(servers).filter(([name]) => server === undefined || name === server);
  return having.some(([, { may_call }]) => may_call(tool)) ? undefined : having[0]?.[0];
}

function placeOf(path: ServerProblem["path"]): string {
  return path.map((step) => typeof step === "number" ? `[${step}]` : `.${step}`).join("").slice(1);
}
