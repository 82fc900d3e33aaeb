/** Folder for downloads, environments and caches: `HONE_CACHE_DIR`, or the platform's cache folder. @module */
import { homedir } from "node:os";
import { join } from "node:path";

/** Absolute folder; not made here. */
export function cacheDir(): string {
  const set = Deno.env.get("HONE_CACHE_DIR");
  if (set) return set;
  if (Deno.build.os === "darwin") return join(homedir(), "Library", "Caches", "hone");
  if (Deno.build.os === "windows") return join(Deno.env.get("LOCALAPPDATA") ?? homedir(), "hone");
  return join(Deno.env.get("XDG_CACHE_HOME") ?? join(homedir(), ".cache"), "hone");
}
