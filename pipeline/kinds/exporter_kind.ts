/** The exporter: policy → files in its own folder, with the trainer's checks. @module */
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
        // Former name, from before there were formats; kept for existing programs.
        write_adapter: (dir: unknown) => weights({ format: "peft", dir: dir as string }),
      };
      return await program.call("export", args, callbacks) as { dir: string; proof: JsonObject };
    },
  }),
  check: async (role, given) => {
    mustHave(await role.export(given.export), "what an exporter returns", { dir: "string", proof: "object" });
  },
  template: {
    summary: "Writes the adapter and a note about it.",
    types: [],
    config: `  note: z.string().default("").describe("Text of the note."),`,
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
