/** The discoverer: servers → catalog. @module */
import type { Catalog } from "../events.ts";
import type { ServerSpec } from "../plugin.ts";
import { type KindFacts, mustHave } from "./kind.ts";

/** Fields of a catalog. */
const CATALOG = { servers: "array", tools: "array", schema_hash: "string" };

/** See `KindFacts`. */
export const discoverer: KindFacts<"discoverer"> = {
  most: 1,
  methods: ["discover"],
  exec: (program) => ({
    discover: async (servers, connect) =>
      await program.call("discover", { servers }, {
        connect: (server) => connect(server as ServerSpec) as Promise<unknown>,
      }) as Catalog,
  }),
  check: async (role, { catalog }) => {
    mustHave(await role.discover([{ name: "server" }], () => Promise.resolve(catalog)), "the catalog", CATALOG);
  },
  aborted: (role, { signal }) =>
    role.discover([{ name: "server" }], () =>
      new Promise((_, reject) => {
        if (signal.aborted) reject(signal.reason);
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      })),
  template: {
    summary: "Offers the agent the tools of all servers, except for excluded ones.",
    types: ["Catalog"],
    config: `  without: z.array(z.string()).default([]).describe("Tools to exclude."),`,
    example: `{ without: ["delete_file"] }`,
    create: `({ config, log }) => ({
    async discover(servers, connect): Promise<Catalog> {
      const catalogs = await Promise.all(servers.map(connect));
      const tools = catalogs.flatMap((catalog) => catalog.tools).filter((tool) => !config.without.includes(tool.name));
      log.info(\`\${tools.length} tools\`);
      const schema_hash = catalogs.map((catalog) => catalog.schema_hash).join("+");
      return { servers: catalogs.flatMap((catalog) => catalog.servers), tools, schema_hash };
    },
  })`,
  },
};
