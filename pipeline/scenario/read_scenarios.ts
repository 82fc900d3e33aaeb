/**
 * Reading scenario files for plugins, through the public surface. The reader (YAML, schemas) is imported when it is
 * first asked for, so that `mod.ts`, which is also the command line, starts fast.
 * @module
 */
import type { Catalog, Scenario } from "../events.ts";
import type { ScenarioPart } from "../plugin.ts";

/** How scenarios are read. */
export interface ScenarioOptions {
  /** For those that name none. */
  split: Scenario["split"];
  /** Tools that scenarios may name; any when left out. */
  catalog?: Catalog;
  /** What judges want to be told of a scenario; each part is checked by its judge's own schema. */
  parts?: ScenarioPart[];
  /** True where every scenario must have a part that decides. */
  must_have_part?: boolean;
}

/** Scenarios of several files, `name` is what messages say. Throws a HoneError with all problems, each at its place. */
export async function readScenarios(
  files: { path: string; name: string }[],
  options: ScenarioOptions,
): Promise<Scenario[]> {
  const reader = await import("./scenario_file.ts");
  return await reader.readScenarios(files, options);
}
