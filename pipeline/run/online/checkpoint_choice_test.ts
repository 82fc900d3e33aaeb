import assert from "node:assert/strict";
import { wilson } from "../../stats/proportion.ts";
import { chosenCheckpoint } from "./checkpoint_choice.ts";

const checkpoint = (checkpoint: string, ...successes: number[]) => ({
  checkpoint,
  success: successes.map((k) => wilson(k, 64)),
});

Deno.test("chosenCheckpoint() is the first of those with the highest success when the rule is highest", () => {
  const all = [checkpoint("a", 30), checkpoint("b", 33), checkpoint("c", 33), checkpoint("d", 20)];
  assert.equal(chosenCheckpoint(all, "highest")!.checkpoint, "b");
});

Deno.test("chosenCheckpoint() weighs all samplings the same", () => {
  // Greedy success fell while sampled success rose.
  const all = [checkpoint("a", 43, 24), checkpoint("b", 40, 34)];
  assert.equal(chosenCheckpoint(all, "highest")!.checkpoint, "b");
});

Deno.test("chosenCheckpoint() is the first one within one standard error of the highest when that is the rule", () => {
  // The standard error of 33 of 64 is 0.06: 30 of 64 lies within it, 20 does not.
  const all = [checkpoint("a", 20), checkpoint("b", 30), checkpoint("c", 33)];
  assert.equal(chosenCheckpoint(all, "one_standard_error")!.checkpoint, "b");
});

Deno.test("chosenCheckpoint() passes over checkpoints of which not one rollout was judged", () => {
  const unjudged = { checkpoint: "a", success: [wilson(0, 0)] };
  assert.equal(chosenCheckpoint([unjudged, checkpoint("b", 0)], "highest")!.checkpoint, "b");
  assert.equal(chosenCheckpoint([unjudged], "highest"), undefined);
});
