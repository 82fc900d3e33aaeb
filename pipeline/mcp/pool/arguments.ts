/**
 * Checks a call's arguments against a tool's input schema before they are sent. An unusable schema checks nothing: the
 * server then validates them itself.
 * @module
 */
import type { JsonObject } from "../../events.ts";
import { misfit } from "../../common/schema_check.ts";

const ARGUMENTS = { whole: "the arguments", unknown_field: "is not an argument of this tool" };

/** What is wrong with the arguments, in words that a model can act on; null where they fit (or cannot be checked). */
export function argumentProblem(schema: JsonObject, args: JsonObject): string | null {
  try {
    return misfit(schema, args, ARGUMENTS);
  } catch {
    return null;
  }
}
