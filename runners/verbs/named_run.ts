/** The run that a word on the command line, or of an MCP client, names. @module */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { findRun } from "../../pipeline/store/live_run.ts";
import type { Caller } from "./verb.ts";

/** Its folder, to be read only; throws PATH_OUTSIDE if the caller may not read it, or a file that it links to. */
export async function namedRun(word: string, caller: Pick<Caller, "within">): Promise<string> {
  const run_dir = await caller.within(await findRun(word));
  for (const entry of await readdir(run_dir, { withFileTypes: true })) {
    if (entry.isSymbolicLink()) await caller.within(join(run_dir, entry.name));
  }
  return run_dir;
}
