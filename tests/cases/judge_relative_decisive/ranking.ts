/** A judge that compares, and decides. @module */
import { definePlugin, type Plugin } from "@hone/hone";
import { z } from "zod";

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "own",
  summary: "A judge that compares, and decides.",
  config: z.strictObject({}),
  examples: [{ title: "Defaults", with: {} }],
  create: () => ({
    scale: "relative",
    decisive: true,
    judge: ({ group }) => group.map(() => ({ score: 1, reason: "best" })),
  }),
});
export default plugin;
