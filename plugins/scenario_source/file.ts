/**
 * Scenarios from files that stand beside the pipeline: YAML, JSON or JSON lines.
 * @module
 */
import { definePlugin, type Plugin, readScenarios } from "@hone/hone";
import { isAbsolute, relative, resolve } from "node:path";
import { z } from "zod";

const config = z.strictObject({
  path: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)])
    .describe("A .yaml, .json or .jsonl file, or several; relative to the pipeline file.")
    .meta({ examples: ["./scenarios.yaml"], path: "exists" }),
  split: z.enum(["train", "validation", "heldout"]).default("train")
    .describe("What scenarios are for that do not say so themselves."),
});

const plugin: Plugin<"scenario-source"> = definePlugin({
  kind: "scenario-source",
  name: "file",
  summary: "Reads scenarios from YAML, JSON or JSON lines, and refuses a bad file whole.",
  config,
  examples: [{ title: "One file", with: { path: "./scenarios.yaml" } }],
  preview: ({ path, split }, { base_dir, ...judged }) => readScenarios(filesOf(path, base_dir), { split, ...judged }),
  create: ({ config: { path, split }, base_dir }) => ({
    async *produce(catalog, parts) {
      yield* await readScenarios(filesOf(path, base_dir), { split, catalog, parts });
    },
  }),
});
export default plugin;

/** Files with the names that messages have for them: from where the person stands, where that is above them. */
function filesOf(path: string | string[], base_dir: string) {
  return [path].flat().map((name) => resolve(base_dir, name)).map((path) => {
    const near = relative(Deno.cwd(), path);
    return { path, name: near.startsWith("..") || isAbsolute(near) ? path : near };
  });
}
