/**
 * A weighted sum of scores and of parts of scores. One judgement that is invalid makes the reward invalid: a judge
 * that could not see is no reason to punish. One that abstains is left out of the sum.
 * @module
 */
import { definePlugin, type Plugin } from "@hone/hone";
import type { Judgement } from "@hone/hone";
import { z } from "zod";

const config = z.strictObject({
  weights: z.record(z.string(), z.number())
    .describe(
      "Weight by judge (`state`) or by part (`calls.invalid`); below zero to take something off. Left out: all scores alike.",
    )
    .default({}),
});

const plugin: Plugin<"reward-shaper"> = definePlugin({
  kind: "reward-shaper",
  name: "weighted",
  summary: "Adds up the judges' scores, and parts of them, by weight.",
  config,
  examples: [{
    title: "The end state, less a tenth for every invalid call",
    with: { weights: { state: 1, "calls.invalid": -0.1 } },
  }],
  create: ({ config: { weights } }) => ({
    shape(_trajectory, judgements) {
      const judges = Object.keys(judgements).filter((judge) => !("abstain" in judgements[judge]!));
      const entries = Object.entries(weights);
      const alike = judges.map((judge) => [judge, 1 / judges.length] as const);
      const parts: Record<string, number> = {};
      for (const [source, weight] of entries.length > 0 ? entries : alike) {
        const found = amount(source, judgements);
        if (typeof found === "string") return { invalid: found };
        if (found === null) continue;
        parts[source] = weight * found;
      }
      if (Object.keys(parts).length === 0) return { invalid: "no judge that has a weight gave a score" };
      return { value: Object.values(parts).reduce((sum, part) => sum + part, 0), parts };
    },
  }),
});
export default plugin;

/** The score or part that `source` names, null where its judge abstains, or why there is none. */
function amount(source: string, judgements: Record<string, Judgement>): number | string | null {
  const dot = source.lastIndexOf(".");
  const judge = Object.hasOwn(judgements, source) || dot < 0 ? source : source.slice(0, dot);
  const judgement = Object.hasOwn(judgements, judge) ? judgements[judge]! : undefined;
  if (!judgement) return `no judge is called ${JSON.stringify(judge)}: there are ${Object.keys(judgements).join(", ")}`;
  if ("invalid" in judgement) return `${judge}: ${judgement.invalid}`;
  if ("abstain" in judgement) return null;
  if (judge === source) return judgement.score;
  const part = judgement.parts?.[source.slice(dot + 1)];
  return part ?? `${judge} has no part ${JSON.stringify(source.slice(dot + 1))}`;
}
