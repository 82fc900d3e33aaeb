/**
 * Success by tag and by tool combination, and what is worse under one policy than under another. Pure.
 * @module
 */
import type { Interval } from "../events.ts";
import { significant } from "./outcome.ts";
import { type RolloutPair, success, successDifference } from "./summary.ts";
import type { Beside, Breakdown, EvaluatedRollout, TagBreakdown, ToolsBreakdown, Worse } from "./verdict_types.ts";

type Scenarios = NonNullable<Beside["scenarios"]>;

/** Success on the scenarios of each tag. */
export function byTag(
  rollouts: readonly EvaluatedRollout[],
  scenarios: Scenarios,
  policies: readonly string[],
): TagBreakdown[] {
  const tagged = new Map<string, EvaluatedRollout[]>();
  for (const e of rollouts) {
    for (const tag of new Set(scenarios.get(e.scenario_id)?.tags)) collect(tagged, tag, e);
  }
  return sorted(tagged).map(([tag, mine]) => ({ tag, ...breakdown(mine, policies) }));
}

/** Success on the scenarios that take the same tools. */
export function byTools(
  rollouts: readonly EvaluatedRollout[],
  scenarios: Scenarios,
  policies: readonly string[],
): ToolsBreakdown[] {
  const shortest = shortestSuccesses(rollouts, policies);
  const combined = new Map<string, EvaluatedRollout[]>();
  for (const e of rollouts) {
    const tools = scenarios.get(e.scenario_id)?.tools ?? shortest.get(e.scenario_id)?.tools ?? null;
    collect(combined, JSON.stringify(tools && [...new Set(tools)].sort()), e);
  }
  return sorted(combined).map(([key, mine]) => ({
    tools: JSON.parse(key) as string[] | null,
    ...breakdown(mine, policies),
  }));
}

/** By scenario, the success with the fewest calls, of the first policy that has one. */
function shortestSuccesses(rollouts: readonly EvaluatedRollout[], policies: readonly string[]) {
  const found = new Map<string, EvaluatedRollout>();
  for (const policy of policies) {
    const mine = rollouts.filter((e) => e.policy === policy && e.success && e.invalid === null);
    const best = new Map<string, EvaluatedRollout>();
    for (const e of mine) {
      if (e.tool_calls < (best.get(e.scenario_id)?.tool_calls ?? Infinity)) best.set(e.scenario_id, e);
    }
    for (const [id, e] of best) if (!found.has(id)) found.set(id, e);
  }
  return found;
}

function breakdown(rollouts: readonly EvaluatedRollout[], policies: readonly string[]): Breakdown {
  const counted = rollouts.filter((e) => e.invalid === null);
  const cells = policies.map((policy) => {
    const mine = counted.filter((e) => e.policy === policy);
    const samplings = Map.groupBy(mine, (e) => e.sampling);
    const of = Object.fromEntries([...samplings].map(([sampling, some]) => [sampling, success(some)]));
    return [policy, of as Record<string, Interval>] as const;
  });
  return { scenarios: new Set(rollouts.map((e) => e.scenario_id)).size, policies: Object.fromEntries(cells) };
}

function collect<T>(groups: Map<string, T[]>, key: string, item: T) {
  const group = groups.get(key);
  if (group) group.push(item);
  else groups.set(key, [item]);
}

function sorted<T>(groups: Map<string, T>): [string, T][] {
  return [...groups].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** So many sampled attempts must agree before a scenario is called worse. */
const AGREEING = 2;

/**
 * What `policy` does worse than `against`: tags first, then scenarios, each in alphabetical order.
 * @param pairs Under the verdict's sampling.
 */
export function worse(pairs: readonly RolloutPair[], scenarios: Scenarios): Worse[] {
  const tagged = new Map<string, RolloutPair[]>();
  for (const pair of pairs) {
    for (const tag of new Set(scenarios.get(pair[0].scenario_id)?.tags)) collect(tagged, tag, pair);
  }
  const tags = sorted(tagged).flatMap(([name, mine]): Worse[] => {
    const difference = successDifference(mine, tagged.size);
    return significant(difference) && difference.high < 0 ? [{ kind: "tag", name, difference }] : [];
  });
  const lost = sorted(Map.groupBy(pairs, ([mine]) => mine.scenario_id)).filter(([, tries]) =>
    (tries.length >= AGREEING || tries[0]![0].sampling === "greedy") &&
    tries.every(([mine, theirs]) => theirs.success && !mine.success)
  );
  return [...tags, ...lost.map(([name]): Worse => ({ kind: "scenario", name, difference: null }))];
}
