import { definePlugin, type Plugin } from "@hone/hone";
import { llm_endpoint } from "@hone/hone/schemas";
import { z } from "zod";

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "asking",
  summary: "Has the endpoints of two models in its settings.",
  config: z.strictObject({ endpoint: llm_endpoint.describe("One."), others: z.array(llm_endpoint).describe("More.") }),
  examples: [],
  create: () => ({ scale: "absolute", decisive: false, judge: ({ group }) => group.map(() => ({ abstain: "never" })) }),
});
export default plugin;
