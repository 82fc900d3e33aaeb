/**
 * `discoverer/mcp`: queries every server of the pipeline concurrently and merges the results into one catalog. A server
 * that cannot be used fails the stage; the message names the server and the cause.
 * @module
 */
import { z } from "zod";
import { definePlugin, joinCatalogs, type Plugin } from "@hone/hone";

const plugin: Plugin<"discoverer"> = definePlugin({
  kind: "discoverer",
  name: "mcp",
  summary: "Reads tools, resources and prompts of the pipeline's MCP servers.",
  config: z.strictObject({}),
  examples: [{ title: "Defaults", with: {} }],
  create: ({ log }) => ({
    async discover(servers, connect) {
      const catalog = joinCatalogs(await Promise.all(servers.map(connect)));
      const tokens = catalog.tools.reduce((sum, tool) => sum + tool.tokens, 0);
      log.info(`tools: ${catalog.tools.length}, servers: ${servers.length}, about ${tokens} tokens`);
      return catalog;
    },
  }),
});
export default plugin;
