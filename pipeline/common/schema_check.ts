/**
 * Checks a JSON value against a JSON Schema, in words that a model can act on. Compiled once per schema object, and
 * kept only as long as that object. The dialect is 2020-12 unless the schema names an older draft.
 * @module
 */
import { Ajv, type ErrorObject, type Options, type ValidateFunction } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Json, JsonObject } from "../events.ts";
import { messageOf } from "../diagnostics/mod.ts";

/** How problems speak of the value: as a whole, and of a field that the schema does not have. */
export interface Subject {
  whole: string;
  unknown_field: string;
}

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

/**
 * What is wrong with the value; null where it fits, or where the schema cannot be used (see `schemaProblem`). Throws
 * what the check itself throws, of a value that nests too deep, say.
 */
export function misfit(schema: JsonObject, value: Json, { whole, unknown_field }: Subject): string | null {
  const validate = compile(schema);
  if (typeof validate === "string" || validate(value)) return null;
  const problems = [...new Set((validate.errors ?? []).map((error) => describe(error, whole, unknown_field)))];
  const more = problems.length > MAX_PROBLEMS ? `; and ${problems.length - MAX_PROBLEMS} more` : "";
  return problems.slice(0, MAX_PROBLEMS).join("; ") + more;
}

/** Why a schema cannot be used to check anything, or null. */
export function schemaProblem(schema: JsonObject): string | null {
  const validate = compile(schema);
  return typeof validate === "string" ? validate : null;
}

function compile(schema: JsonObject): ValidateFunction | string {
  let known = compiled.get(schema);
  if (known === undefined) {
    const ajv = dialect(schema);
    try {
      const validate = ajv.compile(schema);
      // Ajv would keep every schema that it ever saw.
      ajv.removeSchema(schema);
      // Ajv's own extension: what it says of a value then comes as a promise.
      known = "$async" in validate ? "$async is no keyword of JSON Schema" : validate;
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

function describe(error: ErrorObject, whole: string, unknown_field: string): string {
  const path = error.instancePath.slice(1).replaceAll("/", ".").replaceAll("~1", "/").replaceAll("~0", "~");
  const at = (name: string) => `"${path ? `${path}.` : ""}${name}"`;
  const subject = path ? `"${path}"` : whole;
  switch (error.keyword) {
    case "required":
      return `${at(error.params.missingProperty)} is missing`;
    case "additionalProperties":
      return `${at(error.params.additionalProperty)} ${unknown_field}`;
    case "type":
      return `${subject} must be ${[error.params.type].flat().join(" or ")}`;
    case "enum":
      return `${subject} must be one of ${JSON.stringify(error.params.allowedValues).slice(1, -1)}`;
    default:
      return `${subject} ${error.message ?? "does not fit the schema"}`;
  }
}
