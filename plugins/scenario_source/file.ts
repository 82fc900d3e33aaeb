/**
 * Scenarios from files: YAML, JSON, JSON lines or CSV.
 * @module
 */
import { definePlugin, type Plugin, readScenarios } from "@hone/hone";
import { isAbsolute, relative, resolve } from "node:path";
import { z } from "zod";

const config = z.strictObject({
  path: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)])
    .describe("One or more .yaml, .json, .jsonl or .csv files, relative to the pipeline file.")
    .meta({ examples: ["./scenarios.yaml"], path: "exists" }),
  split: z.enum(["train", "validation", "heldout", "auto"]).default("train").describe(
    "Split of the scenarios that do not set one; `auto`: train, and if no scenario sets one, a fifth of the tasks is heldout, " +
      "chosen by their texts.",
  ),
});

const plugin: Plugin<"scenario-source"> = definePlugin({
  kind: "scenario-source",
  name: "file",
  summary: "Reads scenarios from YAML, JSON, JSON lines or CSV files; an invalid file is rejected as a whole.",
  config,
  examples: [{ title: "One file", with: { path: "./scenarios.yaml" } }],
  preview: ({ path, split }, args) => readScenarios(filesOf(path, args.base_dir), { split, ...args }),
  create: ({ config: { path, split }, base_dir }) => ({
    async *produce(catalog, parts) {
      yield* await readScenarios(filesOf(path, base_dir), { split, catalog, parts });
    },
  }),
});
export default plugin;

/** Files with their names for messages: relative to the current folder if they are below it. */
function filesOf(path: string | string[], base_dir: string) {
  return [path].flat().map((name) => resolve(base_dir, name)).map((path) => {
    const near = relative(Deno.cwd(), path);
    return { path, name: near.startsWith("..") || isAbsolute(near) ? path : near };
  });
}
