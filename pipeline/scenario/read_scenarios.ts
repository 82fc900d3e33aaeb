/**
 * Reading scenario files for plugins, through the public API. The reader (YAML, schemas) is imported on first use, so
 * that `mod.ts`, which is also the command line, starts fast.
 * @module
 */
import type { Catalog, Scenario } from "../events.ts";
import type { DeclaredServer, ScenarioPart } from "../plugin.ts";

/** Options for reading scenarios. */
export interface ScenarioOptions {
  /** Split of scenarios that do not set one; `auto`: `train`, and a fifth of the tasks `heldout` where no scenario sets one. */
  split: Scenario["split"] | "auto";
  /** Tools that scenarios may name. Default: any. */
  catalog?: Catalog;
  /** The judges' parts of scenarios; each is checked with its judge's schema. */
  parts?: ScenarioPart[];
  /** True if every scenario must have a part of a decisive judge. */
  must_have_part?: boolean;
  /** Absolute folder of the pipeline file, in which fixtures must exist. Default: not checked. */
  base_dir?: string;
  /** The pipeline's servers: scenarios that need more than these give are rejected. Default: not checked. */
  servers?: Record<string, DeclaredServer>;
}

/** Scenarios of several files; `name` is used in messages. Throws a HoneError with all problems and their positions. */
export async function readScenarios(
  files: { path: string; name: string }[],
  options: ScenarioOptions,
): Promise<Scenario[]> {
  const reader = await import("./scenario_file.ts");
  return await reader.readScenarios(files, options);
}
