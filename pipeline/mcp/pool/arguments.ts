/**
 * Checks a call's arguments against a tool's input schema before the server sees them. Compiled once per tool, on its
 * first call. A schema that cannot be compiled checks nothing: the server then judges for itself.
 * @module
 */
import { Ajv, type ErrorObject, type Options, type ValidateFunction } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { JsonObject } from "../../events.ts";
import { messageOf } from "../../diagnostics/mod.ts";

const OPTIONS: Options = {
  strict: false,
  allErrors: true,
  validateFormats: false,
  validateSchema: false,
  addUsedSchema: false,
  logger: false,
};
const MAX_PROBLEMS = 5;
const compiled = new WeakMap<JsonObject, ValidateFunction | string>();
let draft7: Ajv | undefined;
let draft2020: Ajv2020 | undefined;

/** What is wrong with the arguments, in words that a model can act on; null where they fit (or cannot be checked). */
export function argumentProblem(schema: JsonObject, args: JsonObject): string | null {
  const validate = compile(schema);
  if (typeof validate === "string") return null;
  try {
    if (validate(args)) return null;
  } catch {
    return null;
  }
  const problems = [...new Set((validate.errors ?? []).map(describe))];
  const more = problems.length > MAX_PROBLEMS ? `; and ${problems.length - MAX_PROBLEMS} more` : "";
  return problems.slice(0, MAX_PROBLEMS).join("; ") + more;
}

/** Why a schema cannot be used to check arguments, or null. */
export function schemaProblem(schema: JsonObject): string | null {
  const validate = compile(schema);
  return typeof validate === "string" ? validate : null;
}

function compile(schema: JsonObject): ValidateFunction | string {
  let known = compiled.get(schema);
  if (known === undefined) {
    try {
      known = dialect(schema).compile(schema);
    } catch (error) {
      known = messageOf(error);
    }
    compiled.set(schema, known);
  }
  return known;
}

/** JSON Schema 2020-12 is MCP's default dialect. */
function dialect(schema: JsonObject): Ajv {
  const named = typeof schema.$schema === "string" ? schema.$schema : "";
  return /draft-0[4-7]/.test(named) ? draft7 ??= new Ajv(OPTIONS) : draft2020 ??= new Ajv2020(OPTIONS);
}

function describe(error: ErrorObject): string {
  const path = error.instancePath.slice(1).replaceAll("/", ".").replaceAll("~1", "/").replaceAll("~0", "~");
  const at = (name: string) => `"${path ? `${path}.` : ""}${name}"`;
  switch (error.keyword) {
    case "required":
      return `${at(error.params.missingProperty)} is missing`;
    case "additionalProperties":
      return `${at(error.params.additionalProperty)} is not an argument of this tool`;
    case "type":
      return `${path ? `"${path}"` : "the arguments"} must be ${[error.params.type].flat().join(" or ")}`;
    case "enum":
      return `"${path}" must be one of ${JSON.stringify(error.params.allowedValues).slice(1, -1)}`;
    default:
      return `${path ? `"${path}"` : "the arguments"} ${error.message ?? "do not fit the schema"}`;
  }
}
