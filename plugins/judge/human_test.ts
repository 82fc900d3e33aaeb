import assert from "node:assert/strict";
import type { Label } from "@hone/hone";
import { conformance, fakeContext, fakeJudgeArgs, fakeTrajectory } from "@hone/hone/testing";
import plugin from "./human.ts";

conformance(plugin);

Deno.test("judge() takes the mean of people's labels, and abstains where too few gave one", async () => {
  const labels: Label[] = [
    { rollout_id: "r1", score: 1, reason: "polite", labelled_by: "Ada" },
    { rollout_id: "r1", score: 0, reason: "", labelled_by: "Bob" },
    { rollout_id: "r2", score: 1, reason: "" },
  ];
  const group = ["r1", "r2", "r3"].map((rollout_id) => fakeTrajectory({ rollout_id }));
  const judged = async (settings: object) => {
    const role = await plugin.create(fakeContext(plugin.config.parse(settings)));
    return await role.judge(fakeJudgeArgs({ group, labels: () => Promise.resolve(labels) }));
  };
  assert.deepEqual(await judged({}), [
    { score: 0.5, reason: "the mean of 2 labels; polite", parts: { labels: 2 } },
    { score: 1, reason: "one label", parts: { labels: 1 } },
    { abstain: "nobody labelled the rollout" },
  ]);
  assert.deepEqual((await judged({ min_labels: 2 }))[1], { abstain: "1 of 2 people labelled the rollout" });
});
