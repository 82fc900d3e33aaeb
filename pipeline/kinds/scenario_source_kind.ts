/** The scenario source: catalog → scenarios. @module */
import type { CallSpec, JsonObject, Scenario } from "../events.ts";
import type { LlmRequest, SourceTools } from "../plugin.ts";
import type { Callbacks } from "../program/program.ts";
import { type KindFacts, mustHave } from "./kind.ts";
import type { LeasedEnvironment, TrialOptions } from "./source_types.ts";

/** What a program may call while it produces scenarios; it names an environment by the id that `lease` returned. */
function callbacks(tools: SourceTools, leases: Map<string, LeasedEnvironment>): Callbacks {
  const leased = (id: unknown) => {
    const found = leases.get(String(id));
    if (!found) throw new Error(`no environment ${JSON.stringify(id)} is leased`);
    return found;
  };
  return {
    lease: async (scenario) => {
      const { id, workdir, tools: offered } = await take(tools, leases, scenario as Scenario | undefined);
      return { id, workdir, tools: offered };
    },
    call: async (id, name, args) => await leased(id).call(name as string, args as JsonObject),
    observe: async (id, spec, options) =>
      await leased(id).observe(spec as CallSpec, options as { read_only?: boolean } | undefined),
    release: async (id) => {
      await leased(id)[Symbol.asyncDispose]();
      leases.delete(String(id));
      return null;
    },
    trial: (scenario, options) => tools.trial(scenario as Scenario, options as TrialOptions),
    llm: (request) => tools.llm.ask(request as LlmRequest),
    world: () => tools.world(),
    progress: async (message) => {
      tools.progress(String(message));
      return null;
    },
    save: async (name, text) => {
      await tools.save(String(name), String(text));
      return null;
    },
  };
}

async function take(tools: SourceTools, leases: Map<string, LeasedEnvironment>, scenario?: Scenario) {
  const lease = await tools.lease(scenario);
  leases.set(lease.id, lease);
  return lease;
}

/** See `KindFacts`. */
export const scenario_source: KindFacts<"scenario-source"> = {
  most: "any",
  why: "A run needs tasks for its agent",
  methods: ["produce"],
  exec: (program) => ({
    async *produce(catalog, _parts, tools) {
      const { seed, recorded } = tools;
      const leases = new Map<string, LeasedEnvironment>();
      try {
        yield* await program.call("produce", { catalog, seed, recorded }, callbacks(tools, leases)) as Scenario[];
      } finally {
        for (const lease of leases.values()) await lease[Symbol.asyncDispose]();
      }
    },
  }),
  check: async (role, { catalog, source }) => {
    for await (const scenario of role.produce(catalog, [], source)) {
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
