/** The exporter: checkpoint → artefact in a folder of its own, with proof that it is what it says. @module */
import type { JsonObject } from "../events.ts";
import type { WeightsFormat } from "../plugin.ts";
import { type KindFacts, mustHave } from "./kind.ts";

/** See `KindFacts`. */
export const exporter: KindFacts<"exporter"> = {
  most: "any",
  methods: ["export"],
  exec: (program) => ({
    export: async ({ weights, signal: _, ...args }) => {
      const callbacks = {
        weights: (request: unknown) => weights(request as { format: WeightsFormat; dir: string }),
        // The name that programs of before there were formats know.
        write_adapter: (dir: unknown) => weights({ format: "peft", dir: dir as string }),
      };
      return await program.call("export", args, callbacks) as { dir: string; proof: JsonObject };
    },
  }),
  check: async (role, given) => {
    mustHave(await role.export(given.export), "what an exporter returns", { dir: "string", proof: "object" });
  },
  template: {
    summary: "Writes the adapter, and a note of what it is.",
    types: [],
    config: `  note: z.string().default("").describe("Text put into the note."),`,
    example: `{ note: "for the demo" }`,
    create: `({ config }) => ({
    async export({ dir, policy, verdict, weights }) {
      const proof = await weights({ format: "peft", dir });
      const note = { policy: policy.name, version: policy.version, sentence: verdict.sentence, note: config.note };
      await Deno.writeTextFile(\`\${dir}/note.json\`, JSON.stringify(note, null, 2));
      return { dir, proof };
    },
  })`,
  },
};
