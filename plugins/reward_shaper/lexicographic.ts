/**
 * Ordered criteria: the first decides, and each further one only breaks ties of those before it. Each criterion ranks a
 * rollout by steps of its `tolerance`; the steps are the digits of a number, which is scaled to 0 to 1. So a rollout
 * that is better by the first criterion in which two differ has the higher reward, whatever the criteria after it say.
 * The sum of a reward's parts, one for each criterion, is its value.
 * @module
 */
import { definePlugin, type Plugin } from "@hone/hone";
import { z } from "zod";
import { amount, type Count, counted, COUNTS, Sum } from "./amounts.ts";

const counts = z.enum(Object.keys(COUNTS) as Count[]);

const criterion = z.strictObject({
  judge: z.string().optional().describe("Judge (`state`), or part of its score (`calls.near`).")
    .meta({ examples: ["state"] }),
  per: counts.optional().describe("Instead of a judge: what is counted in the rollout.").meta({ examples: ["turn"] }),
  prefer: z.enum(["highest", "lowest"]).optional().describe("Default: highest; lowest for `per`.")
    .meta({ examples: ["lowest"] }),
  range: z.tuple([z.number(), z.number()]).optional().describe(
    "Values that are told apart; those outside count as the nearest one inside. Default: 0 to 1, as scores are; " +
      "required for `per`.",
  ).meta({ examples: [[0, 8]] }),
  tolerance: z.number().positive().optional().describe(
    "Size of the steps in which values are ranked: those in the same step are ties. Default: a twentieth of the range.",
  ).meta({ examples: [0.1] }),
}).superRefine(({ judge, per, range, tolerance }, context) => {
  const report = (path: string[], message: string) =>
    context.addIssue({ code: "custom", path, message, input: undefined });
  if ((judge === undefined) === (per === undefined)) report([], "must have either `judge` or `per`");
  if (per !== undefined && !range) report([], "must have a `range` of counts that are told apart, such as [0, 8]");
  if (range && range[0] >= range[1]) return report(["range"], "must be the lowest value, then a higher one");
  const [low, high] = range ?? [0, 1];
  if (tolerance !== undefined && tolerance > high - low) {
    report(["tolerance"], "must not be larger than the range, of which everything would be a tie");
  }
});

type Criterion = string | z.output<typeof criterion>;

/** Above it, neighbouring rewards would be the same number. */
const MOST_RANKS = 1_000_000_000_000;

const config = z.strictObject({
  criteria: z.array(z.union([z.string(), criterion])).min(1)
    .refine(
      (criteria) => criteria.reduce((product, one) => product * digitOf(one).ranks, 1) <= MOST_RANKS,
      `must tell at most ${MOST_RANKS} rewards apart: raise a tolerance, or remove a criterion`,
    )
    .describe("In order of importance; a name alone is a judge, or a part of its score.")
    .meta({ examples: [["state", "calls.near"]] }),
});

const plugin: Plugin<"reward-shaper"> = definePlugin({
  kind: "reward-shaper",
  name: "lexicographic",
  summary: "Ranks rollouts by ordered criteria: the first decides, later ones break ties.",
  config,
  examples: [{
    title: "The end state decides; among equals, nearly right calls, then fewer turns",
    with: {
      criteria: ["state", { judge: "calls.near", tolerance: 0.25 }, { per: "turn", range: [0, 8], tolerance: 1 }],
    },
  }],
  weighs: ({ criteria }) =>
    criteria.flatMap((one, i) => {
      if (typeof one === "string") return [{ name: one, path: ["criteria", i], side: "value" as const }];
      const { judge } = one;
      return judge === undefined ? [] : [{ name: judge, path: ["criteria", i, "judge"], side: "value" as const }];
    }),
  create: ({ config: { criteria } }) => {
    const digits = criteria.map(digitOf);
    return {
      shape(trajectory, judgements) {
        const found: { name: string; rank: number; ranks: number }[] = [];
        for (const { name, per, ranks, rankOf } of digits) {
          const value = per ? counted(trajectory)[per] : amount(name, judgements);
          if (typeof value === "string") return { invalid: value };
          if (value !== null) found.push({ name, rank: rankOf(value), ranks });
        }
        // Counts alone say nothing of how well the task was done.
        if (Object.values(judgements).every((one) => "abstain" in one)) return { invalid: "every judge abstains" };
        if (found.length === 0) return { invalid: "the judges of all criteria abstain" };
        const highest = found.reduce((product, { ranks }) => product * ranks, 1) - 1;
        const reward = new Sum();
        let place = highest + 1;
        for (const { name, rank, ranks } of found) {
          place /= ranks;
          reward.add(name, rank * place / highest);
        }
        const { value, parts } = reward;
        return { value: Math.min(1, value), parts };
      },
    };
  },
});
export default plugin;

/** A criterion as a digit of the reward: the number of its ranks, and the rank of a value, from 0. */
function digitOf(one: Criterion) {
  const { judge, per, prefer, range, tolerance }: z.output<typeof criterion> = typeof one === "string"
    ? { judge: one }
    : one;
  const [low, high] = range ?? [0, 1];
  const step = tolerance ?? (high - low) / 20;
  const lowest = (prefer ?? (per ? "lowest" : "highest")) === "lowest";
  // 0.3 / 0.1 is less than 3.
  const steps = (distance: number) => Math.floor(distance / step + 1e-9);
  const rankOf = (value: number) => {
    const inside = Math.min(high, Math.max(low, value));
    return steps(lowest ? high - inside : inside - low);
  };
  return { name: per ? `per ${per}` : judge!, per, ranks: steps(high - low) + 1, rankOf };
}
