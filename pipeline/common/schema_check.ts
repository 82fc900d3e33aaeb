/**
 * Checks a JSON value against a JSON Schema, in words that a model can act on. Compiled once per schema object, and
 * kept only as long as that object. The dialect is 2020-12 unless the schema names an older draft. Patterns are matched
 * in linear time; those for which that is impossible (see `pattern.ts`) are not checked, and listed. A schema that would
 * take too long to compile is not used, nor one that would take too long to check a value as deep as this one.
 * @module
 */
import { Ajv, type ErrorObject, type Options, type ValidateFunction } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Json, JsonObject } from "../events.ts";
import { messageOf } from "../diagnostics/mod.ts";
import { depthOf, schemaWeight } from "./schema_weight.ts";
import { BadPattern, compilePattern, PatternTooCostly } from "./pattern.ts";

/** How problems speak of the value: as a whole, and of a field that the schema does not have. */
export interface Subject {
  whole: string;
  unknown_field: string;
}

/** A schema's validator, or why there is none; and its patterns that are not checked. */
interface Compiled {
  validate: ValidateFunction | string;
  unchecked: string[];
  /** References of a recursive schema to itself. */
  recursive: number;
}

/** Patterns that the schema being compiled has, and that are not checked. */
let unchecked: string[] = [];

const OPTIONS: Options = {
  code: { regExp: Object.assign(patternOf, { code: "hone's patterns" }) },
  strict: false,
  allErrors: true,
  validateFormats: false,
  validateSchema: false,
  addUsedSchema: false,
  inlineRefs: false,
  logger: false,
};
const MAX_PROBLEMS = 5;
/** Objects of a schema: each takes up to a millisecond to compile. */
const MAX_SIZE = 4000;
/** The same, counted again for each reference to them: each is applied to a value. */
const MAX_PARTS = 100_000;
/** Times that a recursive schema is applied within one value. */
const MAX_TIMES = 1_000_000;
const compiled = new WeakMap<JsonObject, Compiled>();
let draft7: Ajv | undefined;
let draft2020: Ajv2020 | undefined;

/**
 * What is wrong with the value; null where it fits, or where the schema cannot be used (see `schemaProblem`). Throws
 * what the check itself throws, of a value that nests too deep, say.
 */
export function misfit(schema: JsonObject, value: Json, { whole, unknown_field }: Subject): string | null {
  const { validate, recursive } = compile(schema);
  if (typeof validate === "string") return null;
  if (recursive > 1 && recursive ** depthOf(value) > MAX_TIMES) return null;
  if (validate(value)) return null;
  const problems = [...new Set((validate.errors ?? []).map((error) => describe(error, whole, unknown_field)))];
  const more = problems.length > MAX_PROBLEMS ? `; and ${problems.length - MAX_PROBLEMS} more` : "";
  return problems.slice(0, MAX_PROBLEMS).join("; ") + more;
}

/**
 * What is wrong with the value, `whole` being its name; null where it fits. What cannot be checked (a schema that
 * cannot be used, a value that nests too deep for it) fits, unless `strict`.
 */
export function schemaMisfit(schema: JsonObject, value: Json, whole: string, { strict = false } = {}): string | null {
  const { validate, recursive, unchecked } = compile(schema);
  if (strict && typeof validate === "string") return `cannot be checked: the schema cannot be used (${validate})`;
  if (strict && unchecked.length > 0) return `cannot be checked: the pattern ${unchecked[0]}`;
  try {
    if (strict && recursive > 1 && recursive ** depthOf(value) > MAX_TIMES) return `${whole} nests too deep`;
    return misfit(schema, value, { whole, unknown_field: "is not a field of the schema" });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return strict ? `${whole} nests too deep` : null;
  }
}

/** Why a schema cannot be used to check anything, or null. */
export function schemaProblem(schema: JsonObject): string | null {
  const { validate } = compile(schema);
  return typeof validate === "string" ? validate : null;
}

/** Why patterns of a schema are not checked, once for each of them. */
export function uncheckedPatterns(schema: JsonObject): string[] {
  return compile(schema).unchecked;
}

function compile(schema: JsonObject): Compiled {
  let known = compiled.get(schema);
  if (known === undefined) {
    unchecked = [];
    const { validate, recursive } = validatorOf(schema);
    known = { validate, recursive, unchecked: [...new Set(unchecked)] };
    compiled.set(schema, known);
  }
  return known;
}

function validatorOf(schema: JsonObject): Omit<Compiled, "unchecked"> {
  try {
    const { size, parts, recursive, unresolved } = schemaWeight(schema);
    if (size > MAX_SIZE) throw new Error(`it has ${size} parts: expected at most ${MAX_SIZE}`);
    if (parts > MAX_PARTS) throw new Error(`with its references it has more than ${MAX_PARTS} parts`);
    if (unresolved !== undefined) throw new Error(`can't resolve reference ${unresolved}`);
    return { validate: ajvOf(schema), recursive };
  } catch (error) {
    return { validate: messageOf(error), recursive: 0 };
  }
}

/** Throws why the schema cannot be used. */
function ajvOf(schema: JsonObject): ValidateFunction {
  const ajv = dialect(schema);
  const validate = ajv.compile(schema);
  // Ajv would keep every schema that it ever saw.
  ajv.removeSchema(schema);
  // Ajv's own extension: what it says of a value then comes as a promise.
  if ("$async" in validate) throw new Error("$async is no keyword of JSON Schema");
  return validate;
}

/** A pattern for Ajv, which keeps it by its text. One that cannot be matched in linear time accepts every text. */
function patternOf(source: string): { test(text: string): boolean; toString(): string } {
  const toString = () => source;
  try {
    const pattern = compilePattern(source);
    return { test: (text) => accepts(() => pattern.test(text)), toString };
  } catch (error) {
    // Not even JavaScript's: the schema is as unusable as it always was.
    if (error instanceof BadPattern && error.unsupported === undefined) new RegExp(source, "u");
    unchecked.push(`/${source}/: ${error instanceof BadPattern ? `${error.unsupported} not supported` : error}`);
    return { test: () => true, toString };
  }
}

function accepts(test: () => boolean): boolean {
  try {
    return test();
  } catch (error) {
    if (error instanceof PatternTooCostly) return true;
    throw error;
  }
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
