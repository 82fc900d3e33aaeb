/** Folder for downloads, environments and caches: `HONE_CACHE_DIR`, or the platform's cache folder. @module */
import { homedir } from "node:os";
import { join } from "node:path";
import { cli } from "../diagnostics/cli_messages.ts";
import { HoneError } from "../diagnostics/diagnostic.ts";

/** Absolute folder; not made here. Throws a HoneError where the user has no home folder and none is set. */
export function cacheDir(): string {
  const set = Deno.env.get("HONE_CACHE_DIR");
  if (set) return set;
  if (Deno.build.os === "windows") return join(Deno.env.get("LOCALAPPDATA") ?? home(), "hone");
  if (Deno.build.os === "darwin") return join(home(), "Library", "Caches", "hone");
  return join(Deno.env.get("XDG_CACHE_HOME") ?? join(home(), ".cache"), "hone");
}

function home(): string {
  // Of a user that this machine does not know, there is none.
  const found = homedir() as string | null;
  if (!found) throw new HoneError(cli.no_home());
  return found;
}
