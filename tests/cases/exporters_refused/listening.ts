/** An exporter of a time when exporters were told of events. @module */
import { definePlugin, type Plugin } from "@hone/hone";
import { z } from "zod";

const plugin: Plugin<"exporter"> = definePlugin({
  kind: "exporter",
  name: "own",
  summary: "An exporter of a time when exporters were told of events.",
  config: z.strictObject({}),
  examples: [{ title: "Defaults", with: {} }],
  create: () => ({ export: ({ dir }) => Promise.resolve({ dir, proof: {} }), on: () => {} }),
});
export default plugin;
