/** `hone run`: the main job. @module */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { type LoadOptions, loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { Json } from "../../pipeline/events.ts";
import { builtins } from "../../plugins/mod.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "run",
  summary: "Run a pipeline to its verdict.",
  description:
    "Discovers the servers' tools, measures the base model on held-out scenarios, climbs the ladder (warm start, RL), " +
    "measures again, and writes verdict, report and adapter into runs/<id>/. Ctrl-C stops it cleanly; `hone resume` goes on.",
  positional: [{ name: "pipeline", description: "The pipeline's YAML file." }],
  args: z.strictObject({
    run_dir: z.string().optional().describe("Folder of the run; runs/<name>-<time>-<id> when left out."),
    set: z.array(z.string()).default([]).describe(
      "A value that replaces one of the file, as train.steps=20; may be repeated.",
    ),
    dry_run: z.boolean().default(false).describe("Check everything and say what would run, then stop."),
    yes: z.boolean().default(false).describe(
      "Do not ask before the pipeline's programs are started for the first time.",
    ),
    verbose: z.boolean().default(false).describe("Show the plugins' debug lines too."),
  }),
  examples: [
    "hone run examples/files/pipeline.yaml",
    "hone examples/files/pipeline.yaml --set train.steps=40 --set seed=8",
    "hone run my.yaml --dry-run",
  ],
  async run({ args, positional, out, err, signal, format }) {
    const loaded = await loadPipeline(positional[0]!, { builtins, signal, overrides: overridesOf(args.set) });
    const run_dir = resolve(args.run_dir ?? join("runs", newId(loaded.config.name)));
    if (args.dry_run) {
      out(format === "json" ? JSON.stringify({ run_dir, config: loaded.config }) : loaded.resolved_yaml);
      return 0;
    }
    if (existsSync(join(run_dir, "run.duckdb"))) throw new HoneError(cli.run_exists(run_dir));
    const { yes, verbose } = args;
    // Loaded once the pipeline is known to be sound: it brings the database with it.
    const { perform } = await import("./perform.ts");
    return await perform(loaded, { run_dir, resume: false, yes, verbose, format, signal, out, err });
  },
});

/** `a.b=value` words as overrides; values are read as YAML. */
export function overridesOf(words: string[]): NonNullable<LoadOptions["overrides"]> {
  return Object.fromEntries(words.map((word) => {
    const at = word.indexOf("=");
    if (at < 1) throw new HoneError(cli.bad_value("--set", word, "wanted path=value, as in train.steps=20"));
    return [word.slice(0, at), parse(word.slice(at + 1)) as Json];
  }));
}

/** A run's id: the pipeline's name, the time, and four characters that tell two of the same second apart. */
export function newId(name: string): string {
  const time = new Date().toISOString().replace(/[-:]/g, "").replace("T", "-").slice(0, 15);
  return `${name}-${time}-${randomBytes(2).toString("hex")}`;
}
