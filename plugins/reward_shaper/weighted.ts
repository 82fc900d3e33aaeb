/**
 * A weighted sum of scores, parts of scores and counts of the rollout, limited by `clip` and by vetoes. An invalid
 * judgement makes the reward invalid: a judge's failure must not penalize the policy. A judge that abstains is left out
 * of the sum, and vetoes nothing. The sum of a reward's parts is its value; `clip` and each veto are parts too.
 * @module
 */
import { definePlugin, type Plugin } from "@hone/hone";
import type { Judgement } from "@hone/hone";
import { z } from "zod";
import { amount, type Count, counted, COUNTS, Sum } from "./amounts.ts";

const per_count = Object.fromEntries(
  Object.entries(COUNTS).map(([name, what]) => [
    name,
    z.number().optional().describe(`For each ${what}.`).meta({ examples: [name === "recovery" ? 0.05 : -0.05] }),
  ]),
) as Record<Count, z.ZodOptional<z.ZodNumber>>;

const points = z.record(z.string().regex(/^[1-9]\d{0,8}$/, "must be an RL step, from 1"), z.number())
  .refine((points) => Object.keys(points).length > 0, "must have the weight at one step at least");

const curriculum = z.strictObject({
  change: z.enum(["linear", "stepwise"]).default("linear").describe(
    "Between two steps: in a straight line, or not until the second one.",
  ),
  weights: z.record(z.string(), points).default({}).describe(
    "As `weights`, with the weight at RL steps, from 1: `{ calls.near: { 1: 0.3, 20: 0 } }`.",
  ),
  per: z.partialRecord(z.enum(Object.keys(COUNTS) as Count[]), points).default({}).describe(
    "As `per`, with the weight at RL steps.",
  ),
});

const veto = z.strictObject({
  judge: z.string().describe("Judge, or part of its score.").meta({ examples: ["state"] }),
  below: z.number().default(1).describe("The veto is cast where the score is below this."),
  at_most: z.number().default(0).describe("Largest reward of a rollout with the veto."),
});

const fields = z.strictObject({
  weights: z.record(z.string(), z.number())
    .describe(
      "Weight by judge (`state`) or by part (`calls.invalid`); negative weights are penalties. Default: equal weights for all scores.",
    )
    .default({}),
  per: z.strictObject(per_count).default({}).describe(
    "Bonuses and, where negative, penalties for what the rollout did, whatever the judges say of it.",
  ),
  curriculum: curriculum.optional().describe(
    "Weights that change over the steps of RL; before the first step that they name and after the last they stay. " +
      "Outside of RL, in evaluations, their last value applies.",
  ).meta({ examples: [{ change: "linear", weights: { "calls.near": { 1: 0.3, 20: 0 } }, per: {} }] }),
  clip: z.tuple([z.number(), z.number()]).optional().describe("Lowest and highest reward, applied to the sum.")
    .meta({ examples: [[0, 1]] }),
  veto: z.array(z.union([z.string(), veto])).default([]).describe(
    "Judges, decisive ones as a rule, whose low score limits the reward, whatever other judges say: a name alone means " +
      "at most 0 where its score is below 1. Applied last.",
  ),
});
type Config = z.output<typeof fields>;
const config = fields.superRefine(checkTogether);

/** Checks what a single field cannot. */
function checkTogether({ weights, per, curriculum, clip, veto }: Config, context: z.RefinementCtx) {
  const report = (path: (string | number)[], message: string) =>
    context.addIssue({ code: "custom", path, message, input: undefined });
  for (const [field, fixed] of [["weights", weights], ["per", per]] as const) {
    for (const name of Object.keys(curriculum?.[field] ?? {})) {
      if (!Object.hasOwn(fixed, name)) continue;
      report(["curriculum", field, name], `must not be in \`${field}\` too: its weight would have two values`);
    }
  }
  if (clip && clip[0] >= clip[1]) report(["clip"], "must be the lowest reward, then a higher one");
  for (const [i, one] of veto.entries()) {
    const { at_most } = asVeto(one);
    if (clip && (at_most < clip[0] || at_most > clip[1])) {
      const place = typeof one === "string" ? [] : ["at_most"];
      report(["veto", i, ...place], `must limit the reward to a value within \`clip\`, not to ${at_most}`);
    }
  }
}

const plugin: Plugin<"reward-shaper"> = definePlugin({
  kind: "reward-shaper",
  name: "weighted",
  summary: "Computes a weighted sum of the judges' scores, their parts, and counts of the rollout.",
  config,
  examples: [
    {
      title: "The end state, with a penalty of 0.1 for every invalid call",
      with: { weights: { state: 1, "calls.invalid": -0.1 } },
    },
    {
      title: "A language model's praise counts only where the end state is right; every turn costs a little",
      with: { weights: { state: 0.5, rubric: 0.5 }, per: { turn: -0.01 }, clip: [0, 1], veto: ["state"] },
    },
    {
      title: "Help in the beginning: nearly right calls count less and less, until step 20",
      with: { weights: { state: 1 }, curriculum: { weights: { "calls.near": { 1: 0.3, 20: 0 } } } },
    },
  ],
  weighs: ({ weights, curriculum, veto }) => [
    ...Object.keys(weights).map((name) => ({ name, path: ["weights", name] })),
    ...Object.keys(curriculum?.weights ?? {}).map((name) => ({ name, path: ["curriculum", "weights", name] })),
    ...veto.map((one, i) => ({
      name: asVeto(one).judge,
      path: typeof one === "string" ? ["veto", i] : ["veto", i, "judge"],
      side: "value" as const,
    })),
  ],
  create: ({ config }) => ({
    shape(trajectory, judgements) {
      const judges = Object.keys(judgements).filter((judge) => !("abstain" in judgements[judge]!));
      if (judges.length === 0) return { invalid: "every judge abstains" };
      const reward = new Sum();
      const weights = weightsAt(config, "weights", trajectory.step);
      const alike = judges.map((judge) => [judge, 1 / judges.length] as const);
      for (const [source, weight] of weights.length > 0 ? weights : alike) {
        const found = amount(source, judgements);
        if (typeof found === "string") return { invalid: found };
        if (found !== null) reward.add(source, weight * found);
      }
      const per = weightsAt(config, "per", trajectory.step);
      const counts = per.length > 0 ? counted(trajectory) : null;
      for (const [count, weight] of per) reward.add(`per ${count}`, weight * counts![count as Count] + 0);
      if (config.clip) clip(reward, config.clip);
      const unknown = cast(config.veto, judgements, reward);
      if (unknown !== null) return { invalid: unknown };
      const { value, parts } = reward;
      return { value, parts };
    },
  }),
});
export default plugin;

/** The weights of an RL step; outside of RL `step` is -1. */
function weightsAt({ curriculum, ...fixed }: Config, field: "weights" | "per", step: number): [string, number][] {
  const constant = Object.entries(fixed[field]).flatMap(([name, weight]) =>
    weight === undefined ? [] : [[name, weight] as [string, number]]
  );
  const changing = Object.entries(curriculum?.[field] ?? {}).flatMap(([name, points]) =>
    points === undefined ? [] : [[name, at(points, step, curriculum!.change)] as [string, number]]
  );
  return [...constant, ...changing];
}

function at(points: Record<string, number>, step: number, change: "linear" | "stepwise"): number {
  const known = Object.entries(points).map(([at, weight]) => [Number(at), weight] as const).sort(([a], [b]) => a - b);
  const after = step < 1 ? -1 : known.findIndex(([at]) => at > step);
  if (after < 0) return known.at(-1)![1];
  const [to_step, to] = known[after]!;
  const [from_step, from] = known[after - 1] ?? [to_step, to];
  if (change === "stepwise" || from_step === to_step) return from;
  return from + (to - from) * (step - from_step) / (to_step - from_step);
}

function clip(reward: Sum, [low, high]: [number, number]) {
  if (reward.value < low || reward.value > high) reward.set("clip", Math.min(high, Math.max(low, reward.value)));
}

/** Casts the vetoes; the reason why one of them is unknown, or null. */
function cast(vetoes: Config["veto"], judgements: Record<string, Judgement>, reward: Sum): string | null {
  for (const { judge, below, at_most } of vetoes.map(asVeto)) {
    const score = amount(judge, judgements);
    if (typeof score === "string") return score;
    // Also where it changes nothing: that it was cast is worth knowing.
    if (score !== null && score < below) reward.set(`veto by ${judge}`, Math.min(reward.value, at_most));
  }
  return null;
}

function asVeto(one: Config["veto"][number]): z.output<typeof veto> {
  return typeof one === "string" ? { judge: one, below: 1, at_most: 0 } : one;
}
