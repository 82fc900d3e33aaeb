/**
 * Makes the verdict of a run from its store: success and costs of every evaluated policy, all paired comparisons with
 * intervals, and one plain sentence. Reads only; the same store and seed give the same verdict.
 * @module
 */
import type { CatalogChange, Split } from "../events.ts";
import { byTag, byTools, worse } from "./breakdown.ts";
import { evaluatedRollouts, literal } from "./evaluated_rollouts.ts";
import { neededScenarios, outcomeOf } from "./outcome.ts";
import { exportChoice, runFacts } from "./run_facts.ts";
import { label, sentence } from "./sentence.ts";
import { compare, pairsOf, success, summarise, tally } from "./summary.ts";
import type {
  Beside,
  Comparison,
  EvaluatedRollout,
  Findings,
  PolicySummary,
  Queryable,
  Sampling,
  ValidationComparison,
  Verdict,
  VerdictConfig,
} from "./verdict_types.ts";

/** Makes the verdict. Also works on a live run: rollouts not judged yet are excluded, with that cause. */
export async function makeVerdict({ store, config }: { store: Queryable; config: VerdictConfig }): Promise<Verdict> {
  const { split } = config.evaluate;
  const [run] = await store.query("SELECT run_id FROM runs");
  const validation = split === "heldout" ? await evaluatedRollouts(store, "validation") : [];
  const rollouts = await evaluatedRollouts(store, split);
  const run_id = String(run?.run_id ?? "");
  const scenarios = await scenarioFacts(store, split);
  const { exported, ...facts } = await runFacts(store, config);
  const verdict = verdictOver(rollouts, config, { run_id, validation, scenarios, facts, exported });
  return { ...verdict, notes: [...verdict.notes, ...await catalogNotes(store)] };
}

/** Tags of the scenarios, and the tools of their reference solutions. */
async function scenarioFacts(store: Queryable, split: Split): Promise<NonNullable<Beside["scenarios"]>> {
  const rows = await store.query(`
    SELECT scenario_id, to_json(tags) AS tags, to_json(scenario->>'$.solution.calls[*].tool') AS tools,
      (scenario->'$.solution') IS NOT NULL AS solved
    FROM scenarios WHERE split = ${literal(split)} ORDER BY seq`);
  return new Map(rows.map(({ scenario_id, tags, tools, solved }) => [
    String(scenario_id),
    { tags: strings(tags), ...(solved === true && { tools: strings(tools) }) },
  ]));
}

function strings(value: unknown): string[] {
  return typeof value === "string" ? (JSON.parse(value) as unknown[] | null ?? []).map(String) : [];
}

/** Notes about servers that changed. */
async function catalogNotes(store: Queryable): Promise<string[]> {
  const rows = await store.query("SELECT payload FROM events WHERE type = 'catalog.changed' ORDER BY seq");
  return rows.map(({ payload }) => {
    const { found, changes } = JSON.parse(String(payload)) as CatalogChange;
    return `${SINCE[found]}: ${changes.join("; ")}.`;
  });
}

const SINCE: Record<CatalogChange["found"], string> = {
  resumed: "Tools changed between two starts of this run",
  evaluated: "Tools have changed since this policy was trained",
  notified: "A server changed its tools during the run, which continued to offer the original ones",
};

/**
 * The verdict over given rollouts. Pure.
 * @param all Rollouts on the verdict's own split.
 */
export function verdictOver(
  all: readonly EvaluatedRollout[],
  config: VerdictConfig,
  { run_id = "", validation = [], scenarios = new Map(), facts, exported }: Beside = {},
): Verdict {
  const names = policyNames(all, config);
  const rollouts = all.filter((e) => names.includes(e.policy));
  const sampling = primarySampling(rollouts, config);
  const policies: Record<string, PolicySummary> = {};
  for (const name of names) {
    policies[name] = summarise(rollouts.filter((e) => e.policy === name), sampling, config.seed, config.prices?.[name]);
  }
  const comparisons: Comparison[] = [];
  for (const [i, policy] of names.entries()) {
    for (const against of names.slice(0, i)) {
      comparisons.push(...compare(policy, against, rollouts, sampling, config.seed));
    }
  }
  const difference = principal(policies, comparisons);
  const pairs = difference
    ? pairsOf(difference.policy, difference.against, rollouts.filter((e) => e.sampling === sampling))
    : [];
  const validated = onValidation(names, validation, sampling, config.seed);
  const found = {
    split: config.evaluate.split,
    sampling,
    scenarios: new Set(rollouts.map((e) => e.scenario_id)).size,
    tries: rollouts.reduce((most, e) => Math.max(most, e.try + 1), 1),
    policies,
    comparisons,
    difference,
    needed_scenarios: difference && neededScenarios(pairs, difference),
    by_tag: byTag(rollouts, scenarios, names),
    by_tools: byTools(rollouts, scenarios, names),
    worse: worse(pairs, scenarios),
    ...bounds(all),
    ...validated,
    ...(exported &&
      { export: exportChoice(exported, config, { policies, split: config.evaluate.split, ...validated }) }),
    ...facts,
  };
  const findings: Findings = { ...found, outcome: outcomeOf(found) };
  return {
    schema: "verdict.v1",
    run: config.name,
    run_id,
    ...findings,
    sentence: sentence(findings),
    notes: [...notes(findings, rollouts, config), ...validationNotes(findings, validation)],
  };
}

/** Policies that bound what others can reach; they do not compete. */
const BOUNDS = ["nothing", "reference"];

function bounds(all: readonly EvaluatedRollout[]): Pick<Verdict, "floor" | "ceiling"> {
  const of = (policy: string, solved: boolean) => {
    const counted = all.filter((e) => e.policy === policy && e.invalid === null);
    const ids = new Set(counted.filter((e) => e.success === solved).map((e) => e.scenario_id));
    return counted.length > 0 && { success: success(counted), ids: [...ids].sort() };
  };
  const nothing = of("nothing", true), reference = of("reference", false);
  return {
    ...(nothing && { floor: { success: nothing.success, satisfied: nothing.ids } }),
    ...(reference && { ceiling: { success: reference.success, unsolved: reference.ids } }),
  };
}

/** Policies in the configured order, then others that were evaluated on held-out scenarios. */
function policyNames(rollouts: readonly EvaluatedRollout[], config: VerdictConfig): string[] {
  const present = new Set(rollouts.map((e) => e.policy).filter((name) => !BOUNDS.includes(name)));
  const configured = config.evaluate.policies.filter((name) => present.has(name));
  if (config.evaluate.split !== "heldout" && configured.length > 0) return configured;
  return [...configured, ...[...present].filter((name) => !configured.includes(name)).sort()];
}

function primarySampling(rollouts: readonly EvaluatedRollout[], config: VerdictConfig): Sampling {
  const wanted = config.evaluate.sampling[0] ?? "greedy";
  if (rollouts.length === 0 || rollouts.some((e) => e.sampling === wanted)) return wanted;
  return rollouts[0]!.sampling;
}

/** Policies of the ladder, the most trained first. */
const RUNGS = ["tuned", "warm_start", "prompt"];

/** The last rung against base where both exist, else the last policy that was judged against the first. */
function principal(
  policies: Record<string, PolicySummary>,
  comparisons: readonly Comparison[],
): Verdict["difference"] {
  const names = Object.keys(policies);
  const against = names.includes("base") ? "base" : names[0];
  const judged = names.filter((name) => name !== against && policies[name]!.success.n > 0);
  const policy = RUNGS.find((rung) => names.includes(rung)) ?? judged.at(-1) ?? names.at(-1);
  const found = comparisons.find((c) => c.metric === "success" && c.policy === policy && c.against === against);
  if (!found) return null;
  const { metric: _, ...difference } = found;
  return difference;
}

/** The tuned policy against the one that RL started from; nothing where they share no judged scenario. */
function onValidation(
  names: string[],
  rollouts: readonly EvaluatedRollout[],
  sampling: Sampling,
  seed: number,
): { validation?: ValidationComparison } {
  const [policy, against] = ["tuned", names.includes("warm_start") ? "warm_start" : "base"];
  const mine = rollouts.filter((e) => e.sampling === sampling && (e.policy === policy || e.policy === against));
  const found = compare(policy, against, mine, sampling, seed).find(({ metric }) => metric === "success")!;
  if (found.n === 0) return {};
  const { metric: _, ...difference } = found;
  const of = (name: string) => success(mine.filter((e) => e.policy === name && e.invalid === null));
  return {
    validation: {
      scenarios: new Set(mine.map((e) => e.scenario_id)).size,
      policies: { [against]: of(against), [policy]: of(policy) },
      difference,
    },
  };
}

function validationNotes({ validation, sampling }: Findings, rollouts: readonly EvaluatedRollout[]): string[] {
  if (!validation) return [];
  const found: string[] = [];
  const mine = rollouts.filter((e) => e.sampling === sampling && validation.policies[e.policy]);
  const causes = Object.entries(tally(mine.flatMap((e) => e.invalid ?? []))).map(([cause, n]) => `${cause}: ${n}`);
  if (causes.length > 0) {
    const judged = mine.filter((e) => e.invalid === null).length;
    found.push(`${mine.length - judged} of ${mine.length} rollouts on validation are left out (${causes.join("; ")}).`);
  }
  if (rollouts.some((e) => e.policy.startsWith("step-"))) {
    found.push(
      "The tuned checkpoint was chosen by its success on validation, so its success there is an optimistic figure.",
    );
  }
  return found;
}

/** The first names of many. */
function listed(names: readonly string[], most = 10): string {
  return names.slice(0, most).join(", ") + (names.length > most ? `, and ${names.length - most} more` : "");
}

function notes(findings: Findings, rollouts: readonly EvaluatedRollout[], config: VerdictConfig): string[] {
  const found: string[] = [];
  const present = [
    ...Object.keys(findings.policies),
    ...(findings.floor ? ["nothing"] : []),
    ...(findings.ceiling ? ["reference"] : []),
  ];
  const missing = config.evaluate.policies.filter((name) => !present.includes(name));
  if (missing.length > 0) found.push(`Not evaluated: ${missing.map(label).join(", ")}.`);
  const { floor, ceiling } = findings;
  if (floor && floor.satisfied.length > 0) found.push(`Doing nothing satisfies: ${listed(floor.satisfied)}.`);
  if (ceiling && ceiling.unsolved.length > 0) {
    found.push(`The reference solution fails in: ${listed(ceiling.unsolved)}.`);
  }
  if (findings.export?.better_elsewhere) {
    found.push(`Exported is ${label(findings.export.policy)}: ${findings.export.reason}`);
  }
  for (const [name, summary] of Object.entries(findings.policies)) {
    const mine = rollouts.filter((e) => e.policy === name);
    const { total, counted, excluded } = summary.rollouts;
    if (counted < total) {
      const causes = Object.entries(excluded).map(([cause, n]) => `${cause}: ${n}`).join("; ");
      const worst = summary.success.n > 0 ? Math.round(summary.success.mean * summary.success.n) : 0;
      const asked = mine.filter((e) => e.sampling === findings.sampling).length;
      const rest = summary.success.n === 0
        ? ""
        : ` If all of them counted as failures, its ${findings.sampling} success would be ${worst} of ${asked}.`;
      found.push(`${total - counted} of ${total} rollouts of ${label(name)} are left out (${causes}).${rest}`);
    }
    const seen = new Set(mine.map((e) => e.scenario_id)).size;
    if (seen < findings.scenarios) {
      found.push(`Only ${seen} of ${findings.scenarios} scenarios were tried with ${label(name)}.`);
    }
    const judged = mine.filter((e) => e.invalid === null);
    const mute = judged.filter((e) => e.call_turns - e.invalid_calls <= 0).length;
    if (judged.length > 0 && mute > judged.length / 2) {
      found.push(
        `In ${mute} of ${judged.length} rollouts ${label(name)} made no valid tool call: ` +
          `a policy that beats it may have learned little more than the format of calls.`,
      );
    }
  }
  return found;
}
