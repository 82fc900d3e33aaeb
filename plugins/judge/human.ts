/**
 * Judges by what people said (`hone label`): the mean of their labels, of each person the last one. It abstains where
 * nobody said anything, which is so for every rollout while it is played: labels that come later count once the run is
 * judged again (`hone rejudge`). It never decides success by itself.
 * @module
 */
import { definePlugin, type Judgement, type Label, type Plugin } from "@hone/hone";
import { z } from "zod";

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "human",
  summary: "Scores rollouts as people labelled them (`hone label`); abstains where there is no label.",
  config: z.strictObject({
    min_labels: z.int().min(1).default(1).describe("Number of people who must have labelled a rollout."),
  }),
  examples: [{ title: "Two people", with: { min_labels: 2 } }],
  parts: ["labels"],
  create: ({ config: { min_labels } }) => ({
    scale: "absolute",
    decisive: false,
    judge: async ({ group, labels }) => {
      const given = Map.groupBy(await labels(), ({ rollout_id }) => rollout_id);
      return group.map(({ rollout_id }) => judgeOne(given.get(rollout_id) ?? [], min_labels));
    },
  }),
});
export default plugin;

function judgeOne(labels: Label[], min_labels: number): Judgement {
  if (labels.length === 0) return { abstain: "nobody labelled the rollout" };
  if (labels.length < min_labels) return { abstain: `${labels.length} of ${min_labels} people labelled the rollout` };
  const score = labels.reduce((sum, label) => sum + label.score, 0) / labels.length;
  const reasons = labels.map(({ reason }) => reason).filter(Boolean);
  const said = labels.length === 1 ? "one label" : `the mean of ${labels.length} labels`;
  return { score, reason: [said, ...reasons].join("; "), parts: { labels: labels.length } };
}
