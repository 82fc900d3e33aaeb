/** A judge with a part of a scenario of its own. @module */
import { definePlugin, type Plugin } from "@hone/hone";
import { z } from "zod";

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "polite",
  summary: "Looks for a word in the answer.",
  config: z.strictObject({}),
  examples: [{ title: "Defaults", with: {} }],
  expects: { schema: z.strictObject({ word: z.string().min(2).describe("What the answer must contain.") }) },
  create: () => ({
    scale: "absolute",
    decisive: true,
    judge: ({ group, expected }) =>
      group.map(({ outcome }) => {
        if (expected === undefined) return { abstain: "the scenario expects no word" };
        const found = outcome.answer?.includes(expected.word) ?? false;
        return { score: found ? 1 : 0, reason: found ? "polite" : "not polite" };
      }),
  }),
});
export default plugin;
