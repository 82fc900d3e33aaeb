/** The tracker: receives every event, read-only, without slowing the run. @module */
import type { Envelope } from "../events.ts";
import type { KindFacts } from "./kind.ts";

/** See `KindFacts`. */
export const tracker: KindFacts<"tracker"> = {
  most: "any",
  methods: ["on"],
  exec: (program) => ({
    on: async (event) => void await program.call("on", { event }),
  }),
  check: async (role) => {
    const data = { name: "loss", value: 1, step: 1 };
    const event: Envelope<"metric.recorded"> = {
      seq: 1,
      at: 0,
      run_id: "r",
      source: "t",
      type: "metric.recorded",
      data,
    };
    await role.on(event);
  },
  template: {
    summary: "Writes every metric to the log.",
    types: [],
    config: `  prefix: z.string().default("").describe("Only metrics with this name prefix."),`,
    example: `{ prefix: "reward" }`,
    create: `({ config, log }) => ({
    on({ type, data }) {
      if (type !== "metric.recorded") return;
      const { name, value, step } = data as { name: string; value: number; step: number };
      if (name.startsWith(config.prefix)) log.info(\`\${name} \${value} at step \${step}\`);
    },
  })`,
  },
};
