/**
 * Reading scenario files for plugins, through the public surface. The reader (YAML, schemas) is imported when it is
 * first asked for, so that `mod.ts`, which is also the command line, starts fast.
 * @module
 */
import type { Catalog, Scenario } from "./events.ts";

/** Scenarios of several files. `split` is for those that name none. Throws a HoneError with all problems. */
export async function readScenarios(
  files: { path: string; name: string }[],
  options: { split: Scenario["split"]; catalog: Catalog },
): Promise<Scenario[]> {
  const reader = await import("./scenario_file.ts");
  return await reader.readScenarios(files, options);
}
