/** The command that starts hone: the binary, or this checkout under Deno. @module */
import { fileURLToPath } from "node:url";

/** The command that starts hone; its arguments follow. */
export function ownCommand(): [string, ...string[]] {
  if (Deno.build.standalone) return [Deno.execPath()];
  return [Deno.execPath(), "run", "-A", fileURLToPath(new URL("../../mod.ts", import.meta.url))];
}
