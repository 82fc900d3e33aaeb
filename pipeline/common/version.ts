/** The version of hone, from deno.json. @module */
import manifest from "../../deno.json" with { type: "json" };

/** Semantic version. */
export const VERSION: string = manifest.version;
