/** A judge by which what a random model writes differs: the share of letters in the first reply. @module */
import { definePlugin, type Plugin } from "@hone/hone";
import { z } from "zod";

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "letters",
  summary: "Scores the share of letters in the first reply.",
  config: z.strictObject({}),
  examples: [{ title: "Defaults", with: {} }],
  create: () => ({
    scale: "absolute",
    decisive: false,
    judge: ({ group }) =>
      group.map(({ turns }) => {
        const text = turns[0]?.text ?? "";
        const letters = text.replace(/[^a-z]/gi, "").length;
        return { score: letters / Math.max(1, text.length), reason: `${letters} of ${text.length}` };
      }),
  }),
});
export default plugin;
