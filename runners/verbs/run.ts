/** `hone run`: runs a pipeline. @module */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { z } from "zod";
import { loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import type { PipelineConfig } from "../../pipeline/config/pipeline_schema.ts";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import { builtins } from "../../plugins/mod.ts";
import { approval } from "./consent.ts";
import { type Ended, ended, endedJson, endedText } from "./ended.ts";
import { newId, newRunDetached, overridesOf, performing } from "./new_run.ts";
import { planned_run, plannedLines, type PlannedRun, plannedRun } from "./planned_run.ts";
import { defineVerb, terminalOnly } from "./verb.ts";

/** What `--dry-run` returns. */
interface Planned {
  run_dir: string;
  config: PipelineConfig;
  plan: PlannedRun;
  /** The resolved pipeline file, for text output. */
  resolved_yaml: string;
}

const planned = z.object({
  run_dir: z.string().describe("Folder that the run would use."),
  config: z.looseObject({}).describe("The pipeline with all defaults."),
  plan: planned_run,
});

export default defineVerb({
  name: "run",
  summary: "Run a pipeline to its verdict.",
  description:
    "Discovers the servers' tools, evaluates the base model on held-out scenarios, trains (warm start, RL), evaluates " +
    "again, and writes verdict, report and adapter to runs/<id>/. Ctrl-C stops it cleanly; `hone resume` continues it.",
  effect: "runs",
  positional: [{ name: "pipeline", description: "The pipeline's YAML file." }],
  args: z.strictObject({
    run_dir: terminalOnly(z.string().optional().describe("Folder of the run. Default: runs/<name>-<time>-<id>.")),
    set: z.array(z.string()).default([]).describe(
      "Override a value of the file, for example train.steps=20; repeatable.",
    ),
    dry_run: z.boolean().default(false).describe(
      "Check everything, print the pipeline with all defaults and what a run would do, and exit.",
    ),
    ...performing,
  }),
  result: z.union([ended, planned]),
  examples: [
    "hone run examples/files/pipeline.yaml",
    "hone examples/files/pipeline.yaml --set train.steps=40 --set seed=8",
    "hone run my.yaml --dry-run",
  ],
  detached: newRunDetached,
  async run(call): Promise<Ended | Planned> {
    const { args, positional, signal } = call;
    const overrides = overridesOf(args.set);
    const approve = approval(call, positional[0]!, { of: args.dry_run ? "plugins" : "everything" });
    const loaded = await loadPipeline(positional[0]!, { builtins, signal, overrides, approve });
    const run_dir = resolve(args.run_dir ?? join("runs", newId(loaded.config.name)));
    if (args.dry_run) {
      const { config, resolved_yaml } = loaded;
      return { run_dir, config, plan: await plannedRun(loaded), resolved_yaml };
    }
    if (existsSync(join(run_dir, "run.duckdb"))) throw new HoneError(cli.run_exists(run_dir));
    // Loaded once the pipeline is known to be valid: it loads the database.
    const { perform } = await import("./perform.ts");
    return await perform(loaded, call, { run_dir, resume: false });
  },
  formats: { json: (value) => "resolved_yaml" in value ? plannedJson(value) : endedJson(value) },
  text: (value) => "resolved_yaml" in value ? value.resolved_yaml : endedText(value),
  remarks: (value) => "resolved_yaml" in value ? plannedLines(value.config, value.plan) : [],
  exit: (value) => "exit" in value ? value.exit : 0,
});

function plannedJson({ resolved_yaml: _, ...planned }: Planned): string {
  return JSON.stringify(planned);
}
