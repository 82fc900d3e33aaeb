/**
 * A weighted sum of scores and of parts of scores. An invalid judgement makes the reward invalid: a judge's failure
 * must not penalize the policy. A judge that abstains is left out of the sum.
 * @module
 */
import { definePlugin, type Plugin } from "@hone/hone";
import type { Judgement } from "@hone/hone";
import { z } from "zod";

const config = z.strictObject({
  weights: z.record(z.string(), z.number())
    .describe(
      "Weight by judge (`state`) or by part (`calls.invalid`); negative weights are penalties. Default: equal weights for all scores.",
    )
    .default({}),
});

const plugin: Plugin<"reward-shaper"> = definePlugin({
  kind: "reward-shaper",
  name: "weighted",
  summary: "Computes a weighted sum of the judges' scores and parts.",
  config,
  examples: [{
    title: "The end state, with a penalty of 0.1 for every invalid call",
    with: { weights: { state: 1, "calls.invalid": -0.1 } },
  }],
  weighs: ({ weights }) => Object.keys(weights).map((name) => ({ name, path: ["weights", name] })),
  create: ({ config: { weights } }) => ({
    shape(_trajectory, judgements) {
      const judges = Object.keys(judgements).filter((judge) => !("abstain" in judgements[judge]!));
      if (judges.length === 0) return { invalid: "every judge abstains" };
      const entries = Object.entries(weights);
      const alike = judges.map((judge) => [judge, 1 / judges.length] as const);
      const parts: Record<string, number> = {};
      for (const [source, weight] of entries.length > 0 ? entries : alike) {
        const found = amount(source, judgements);
        if (typeof found === "string") return { invalid: found };
        if (found === null) continue;
        parts[source] = weight * found;
      }
      return { value: Object.values(parts).reduce((sum, part) => sum + part, 0), parts };
    },
  }),
});
export default plugin;

/** The score or part that `source` names, null if its judge abstains, or the reason why there is none. */
function amount(source: string, judgements: Record<string, Judgement>): number | string | null {
  const dot = source.lastIndexOf(".");
  const judge = Object.hasOwn(judgements, source) || dot < 0 ? source : source.slice(0, dot);
  const judgement = Object.hasOwn(judgements, judge) ? judgements[judge]! : undefined;
  if (!judgement) {
    return `unknown judge ${JSON.stringify(judge)}: expected one of ${Object.keys(judgements).join(", ")}`;
  }
  if ("invalid" in judgement) return `${judge}: ${judgement.invalid}`;
  if ("abstain" in judgement) return null;
  if (judge === source) return judgement.score;
  const part = judgement.parts?.[source.slice(dot + 1)];
  return part ?? `${judge} has no part ${JSON.stringify(source.slice(dot + 1))}`;
}
