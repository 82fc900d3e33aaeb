/** The reward shaper: trajectory and judgements → reward. @module */
import type { RewardValue } from "../events.ts";
import type { KindFacts } from "./kind.ts";

/** See `KindFacts`. */
export const reward_shaper: KindFacts<"reward-shaper"> = {
  most: 1,
  why: "A run needs one that computes rewards from judgements",
  methods: ["shape"],
  exec: (program) => ({
    shape: async (trajectory, judgements) => await program.call("shape", { trajectory, judgements }) as RewardValue,
  }),
  check: async (role, { trajectory }) => {
    const judgements = { state: { score: 1, reason: "as expected" }, other: { abstain: "not mine" } };
    const reward = await role.shape(trajectory, judgements);
    if ("invalid" in reward) return;
    if (!Number.isFinite(reward.value)) throw new Error(`a reward's value is ${reward.value}: expected a number`);
    if (typeof reward.parts !== "object") throw new Error("a reward must have parts");
  },
  template: {
    summary: "Computes the mean of all scores, minus a cost per turn.",
    types: [],
    config: `  turn_cost: z.number().min(0).default(0.01).describe("Cost of a turn."),`,
    example: `{ turn_cost: 0 }`,
    create: `({ config }) => ({
    shape(trajectory, judgements) {
      const scores: number[] = [];
      for (const [judge, judgement] of Object.entries(judgements)) {
        if ("invalid" in judgement) return { invalid: \`\${judge}: \${judgement.invalid}\` };
        if ("score" in judgement) scores.push(judgement.score); // a judge that abstains is ignored
      }
      const mean = scores.reduce((sum, score) => sum + score, 0) / Math.max(1, scores.length);
      const turns = -config.turn_cost * trajectory.turns.length;
      return { value: mean + turns, parts: { mean, turns } };
    },
  })`,
  },
};
