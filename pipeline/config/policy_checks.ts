/**
 * Checks of `evaluate.policies` and `evaluate.models`: every policy is one that the run can have, and no model takes
 * the name of another policy.
 * @module
 */
import { config as say, type Diagnostic } from "../diagnostics/mod.ts";
import { POLICIES } from "./pipeline_schema.ts";
import { type Path, valueAt } from "./source.ts";

/** Policies that hone names itself while it trains, besides `POLICIES`. */
const NUMBERED = /^(step|prompt)-\d+$/;

/** The rungs that make a policy; the others need none. */
const MAKERS: Record<string, string[]> = { tuned: ["rl", "warm_start"], warm_start: ["warm_start"] };

/** Problems of the policies' names. `climbed` are the pipeline's rungs; null if no policy is made, but only evaluated. */
export function checkPolicies(
  raw: unknown,
  climbed: string[] | null,
): { diagnostic: Diagnostic; path: Path; side?: "key" }[] {
  const findings: ReturnType<typeof checkPolicies> = [];
  const models = Object.keys(valueAt(raw, ["evaluate", "models"]) ?? {});
  for (const name of models.filter((name) => POLICIES.some((own) => own === name) || NUMBERED.test(name))) {
    findings.push({ diagnostic: say.policy_name_taken(name), path: ["evaluate", "models", name], side: "key" });
  }
  const policies = valueAt(raw, ["evaluate", "policies"]);
  const named = Array.isArray(policies) ? policies.map(String) : [];
  for (const [i, policy] of named.entries()) {
    const path: Path = ["evaluate", "policies", i];
    const makers = MAKERS[policy];
    if (named.indexOf(policy) < i) findings.push({ diagnostic: say.policy_twice(policy), path });
    else if (!models.includes(policy) && !POLICIES.some((own) => own === policy)) {
      if (climbed) findings.push({ diagnostic: say.policy_unknown(policy, [...POLICIES], models), path });
    } else if (makers && climbed && !makers.some((rung) => climbed.includes(rung))) {
      findings.push({ diagnostic: say.policy_unreachable(policy, makers.join(" or ")), path });
    }
  }
  return findings;
}
