/** The scenario source: catalog → scenarios. @module */
import type { Scenario } from "../events.ts";
import { type KindFacts, mustHave } from "./kind.ts";

/** See `KindFacts`. */
export const scenario_source: KindFacts<"scenario-source"> = {
  most: "any",
  why: "A run needs tasks for its agent",
  methods: ["produce"],
  exec: (program) => ({
    async *produce(catalog) {
      yield* await program.call("produce", { catalog }) as Scenario[];
    },
  }),
  check: async (role, { catalog }) => {
    for await (const scenario of role.produce(catalog, [])) {
      mustHave(scenario, "a scenario", { id: "string", task: "string", split: "string", tags: "array" });
    }
  },
  template: {
    summary: "Produces one task per name, to write a file, and checks that the file exists.",
    types: ["Scenario"],
    config: `  names: z.array(z.string()).default(["apple", "pear"]).describe("Names of the files."),`,
    example: `{ names: ["plum"] }`,
    create: `({ config }) => ({
    *produce(): Generator<Scenario> {
      for (const [i, name] of config.names.entries()) {
        yield {
          id: \`write_\${name}\`,
          task: \`Write the word \${name} to \${name}.txt.\`,
          split: i % 2 === 0 ? "train" : "heldout",
          tags: ["write"],
          checks: [{ file: \`\${name}.txt\`, contains: name }],
        };
      }
    },
  })`,
  },
};
