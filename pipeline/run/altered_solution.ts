/**
 * Alterations of a reference solution: in each, one value that the task is about is another one of the same shape.
 * Checks that accept both accept two contradictory end states.
 * @module
 */
import { isObject } from "../common/json.ts";
import type { Json, JsonObject, Scenario, ToolSpec } from "../events.ts";
import type { Solution } from "./reference_solution.ts";

/** One alteration. */
export interface Alteration {
  solution: Solution;
  /** Index of the altered call; undefined for the closing answer. */
  call?: number;
  /** Field of the arguments, as in `entities[0].name`. */
  field: string;
  /** The other value. */
  to: Json;
  /** True if the task names the value: an end state without it is not the wanted one. */
  named: boolean;
}

type Path = (string | number)[];

/** Of one scenario. */
const MOST = 12;

/** Alterations of the arguments of calls that may change something, at most a dozen. */
export function alteredCalls(
  { task, solution }: Scenario,
  { tools, changes }: { tools: readonly ToolSpec[]; changes: (call: number) => boolean },
): Alteration[] {
  const found: Alteration[] = [];
  for (const [index, call] of solution!.calls.entries()) {
    if (!changes(index)) continue;
    const schema = tools.find(({ name, model_name }) => name === call.tool || model_name === call.tool)?.input_schema;
    for (const { path, value } of leaves(call.arguments)) {
      const to = another(value, schemaAt(schema, path));
      if (to === undefined) continue;
      const altered = { ...call, arguments: withValue(call.arguments, path, to) as JsonObject };
      found.push({
        solution: { ...solution!, calls: solution!.calls.with(index, altered) },
        call: index,
        field: fieldOf(path),
        to,
        named: mentions(task, value),
      });
    }
  }
  return found.sort((a, b) => Number(b.named) - Number(a.named)).slice(0, MOST);
}

/** The solution with another closing answer. */
export function alteredAnswer({ solution }: Scenario): Alteration {
  const { answer } = solution!;
  const to = shifted(answer);
  return { solution: { ...solution!, answer: to }, field: "answer", to, named: true };
}

function leaves(value: Json, path: Path = []): { path: Path; value: Json }[] {
  if (value === null || typeof value !== "object") return [{ path, value }];
  return Object.entries(value).flatMap(([key, inner]) =>
    leaves(inner, [...path, Array.isArray(value) ? Number(key) : key])
  );
}

function withValue(value: Json, [first, ...rest]: Path, leaf: Json): Json {
  if (first === undefined) return leaf;
  if (Array.isArray(value)) return value.with(first as number, withValue(value[first as number]!, rest, leaf));
  const fields = value as JsonObject;
  return { ...fields, [first]: withValue(fields[first]!, rest, leaf) };
}

/** The schema of a field, as far as `properties` and `items` lead to it. */
function schemaAt(schema: JsonObject | undefined, path: Path): JsonObject {
  let at: Json | undefined = schema;
  for (const step of path) {
    if (!isObject(at)) return {};
    at = typeof step === "number"
      ? at.items as Json
      : isObject(at.properties)
      ? at.properties[step] as Json
      : undefined;
  }
  return isObject(at) ? at as JsonObject : {};
}

/** Another value of the same shape; undefined if there is none. */
function another(value: Json, schema: JsonObject): Json | undefined {
  if (Array.isArray(schema.enum)) return schema.enum.find((one) => one !== value);
  if (typeof value === "boolean") return !value;
  if (typeof value === "number") return value === 0 ? 1 : value * 2;
  if (typeof value !== "string") return undefined;
  // Of a path, only the last part: a file of another name in the same folder.
  const [, folder = "", name = ""] = /^(\S*\/)?([^]*)$/.exec(value)!;
  const to = folder + shifted(name);
  return to === value ? undefined : to;
}

/** Each letter and digit replaced by the next one; `${…}` is kept. */
function shifted(text: string): string {
  return text.replace(/\$\{[^}]*\}|[a-y0-8]|[zZ9]|[A-Y]/g, (found) => {
    if (found.length > 1) return found;
    const wrapped = { z: "a", Z: "A", "9": "0" }[found];
    return wrapped ?? String.fromCharCode(found.charCodeAt(0) + 1);
  });
}

function mentions(task: string, value: Json): boolean {
  if (typeof value === "number") return (task.match(/-?\d+(\.\d+)?/g) ?? []).some((found) => Number(found) === value);
  if (typeof value !== "string") return false;
  const name = value.split("/").at(-1)!.trim();
  return name !== "" && task.toLowerCase().includes(name.toLowerCase());
}

function fieldOf(path: Path): string {
  return path.map((step, index) => typeof step === "number" ? `[${step}]` : index === 0 ? step : `.${step}`).join("");
}
