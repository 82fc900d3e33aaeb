/**
 * Arguments of tools from their schemas. A form says, for every leaf of a tool's arguments, which kind of value it gets;
 * filled in with a world (what exists) and words it is a call. Which forms a tool accepts is found out by calling it.
 * @module
 */
import type { Json, JsonObject, ToolSpec } from "@hone/hone";
import type { Words } from "./words.ts";

/** Kinds of argument values: the columns of the coverage matrix. */
export const ARGUMENT_KINDS = [
  "file",
  "folder",
  "new_path",
  "entity",
  "new_name",
  "text",
  "old_text",
  "pattern",
  "number",
  "enum",
  "boolean",
  "fixed",
  "none",
] as const;

/** One of them. */
export type ArgumentKind = typeof ARGUMENT_KINDS[number];

/** A leaf of a tool's arguments. */
export interface Leaf {
  path: (string | number)[];
  schema: JsonObject;
  kind: ArgumentKind;
}

/** A tool with a kind for each leaf of its arguments. */
export interface Form {
  tool: ToolSpec;
  leaves: Leaf[];
}

/** What exists when the agent starts. */
export interface World {
  /** Texts of files by path, below the rollout's folder. */
  files: Record<string, string>;
  /** Folders, each with at least one of the files. */
  folders: string[];
  /** Names that calls of the setup have made. */
  entities: string[];
}

/** A call, and the value of every leaf. */
export interface Filled {
  form: Form;
  arguments: JsonObject;
  values: { leaf: Leaf; value: Json }[];
}

const MOST_FORMS = 8;
/** A schema may have any number of fields. */
const MOST_COMBINATIONS = 64;
const MOST_LEAVES = 32;
const DEPTH = 4;

/** Forms to try, the likelier ones first; required arguments only, and one more form for each optional scalar. */
export function formsOf(tool: ToolSpec, world: World): Form[] {
  const leaves = leavesOf(tool.input_schema, [], true);
  if (!leaves || leaves.length > MOST_LEAVES) return [];
  const forms = combinations(leaves.map((leaf) => kindsOf(tool, leaf, world))).slice(0, MOST_FORMS)
    .map((kinds): Form => ({ tool, leaves: leaves.map((leaf, i) => ({ ...leaf, kind: kinds[i]! })) }));
  const optional = Object.entries(objectOf(tool.input_schema.properties)).filter(([name, schema]) =>
    !requiredOf(tool.input_schema).includes(name) && isScalar(objectOf(schema))
  ).map(([name, schema]) => ({ path: [name], schema: objectOf(schema) }));
  const more = optional.flatMap((leaf) => {
    const [kind] = kindsOf(tool, leaf, world).filter((kind) => kind === "number" || kind === "enum");
    return kind ? forms.slice(0, 2).map((form) => ({ tool, leaves: [...form.leaves, { ...leaf, kind }] })) : [];
  });
  return [...forms, ...more];
}

/** Fills a form in; null if the world lacks what it needs. */
export function fill(form: Form, world: World, words: Words): Filled | null {
  const values: Filled["values"] = [];
  const taken = new Set<Json>();
  const about: About = { folders: /dir|folder/i.test(form.tool.name) };
  for (const leaf of form.leaves) {
    const value = valueOf(leaf, world, words, taken, about);
    if (value === null) return null;
    if (leaf.kind === "file") about.file = String(value);
    if (leaf.kind === "folder") about.folder = String(value);
    taken.add(value);
    values.push({ leaf, value });
  }
  return { form, arguments: argumentsOf(values), values };
}

/** The filled form with another value for one leaf. */
export function withValue({ form, values }: Filled, leaf: Leaf, value: Json): Filled {
  const changed = values.map((one) => one.leaf === leaf ? { leaf, value } : one);
  return { form, arguments: argumentsOf(changed), values: changed };
}

function argumentsOf(values: Filled["values"]): JsonObject {
  const made: JsonObject = {};
  for (const { leaf: { path }, value } of values) put(made, path, value);
  return made;
}

/** Sets a value at a path; the paths come from `leavesOf`, which follows only schemas' own property names. */
function put(target: JsonObject, path: (string | number)[], value: Json): void {
  let at = target as Record<string | number, Json>;
  for (const [i, key] of path.slice(0, -1).entries()) {
    if (!Object.hasOwn(at, key)) define(at, key, typeof path[i + 1] === "number" ? [] : {});
    at = at[key] as Record<string | number, Json>;
  }
  define(at, path.at(-1)!, value);
}

/** A server may call a property `__proto__`. */
function define(target: object, key: string | number, value: Json): void {
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

/** The leaves of what a schema requires; undefined if it cannot be filled in this way. */
function leavesOf(schema: JsonObject, path: Leaf["path"], required: boolean): Omit<Leaf, "kind">[] | undefined {
  if (path.length > DEPTH) return undefined;
  if (isScalar(schema)) return [{ path, schema }];
  if (schema.type === "array") {
    const inner = leavesOf(objectOf(schema.items), [...path, 0], required);
    return inner;
  }
  if (schema.type !== "object" && schema.properties === undefined) return undefined;
  const properties = objectOf(schema.properties);
  const found: Omit<Leaf, "kind">[] = [];
  for (const name of requiredOf(schema)) {
    const inner = leavesOf(objectOf(properties[name]), [...path, name], true);
    if (!inner) return undefined;
    found.push(...inner);
  }
  return found.length > 0 || path.length === 0 ? found : undefined;
}

function isScalar(schema: JsonObject): boolean {
  return Array.isArray(schema.enum) || schema.const !== undefined ||
    ["string", "number", "integer", "boolean"].includes(String(schema.type));
}

/** Words of a leaf's name: `oldText` → old, text. List positions do not count. */
export function nameOf({ path }: Pick<Leaf, "path">): string {
  const name = String(path.filter((step) => typeof step === "string").at(-1) ?? "value");
  return name.replaceAll(/([a-z0-9])([A-Z])/g, "$1 $2").replaceAll(/[_\-.]+/g, " ").toLowerCase();
}

function kindsOf(tool: ToolSpec, leaf: Omit<Leaf, "kind">, world: World): ArgumentKind[] {
  const { schema } = leaf;
  if (Array.isArray(schema.enum)) return ["enum"];
  if (schema.const !== undefined) return ["fixed"];
  if (schema.type === "number" || schema.type === "integer") return ["number"];
  if (schema.type === "boolean") return ["boolean"];
  const kinds = textKinds(tool, nameOf(leaf), Object.keys(world.files).length > 0);
  const there = kinds.filter((kind) =>
    kind === "entity" ? world.entities.length > 0 : !(["file", "folder"].includes(kind) && !hasFiles(world))
  );
  return there.length > 0 ? there : ["text"];
}

function hasFiles({ files }: World): boolean {
  return Object.keys(files).length > 0;
}

/** Kinds of a text argument by its name, the likelier first. */
function textKinds(tool: ToolSpec, name: string, files: boolean): ArgumentKind[] {
  const has = (words: RegExp) => words.test(name);
  if (files && has(/\b(path|paths|file|files|filename|dir|directory|folder|source|src|destination|dest|target)\b/)) {
    if (has(/\b(dest|destination|target)\b/)) return ["new_path", "folder"];
    const on_folder = /dir|folder|tree|search|list/i.test(tool.name) && !/create|make|mkdir/i.test(tool.name);
    if (on_folder) return ["folder", "file"];
    return tool.annotations.read_only ? ["file", "folder"] : ["new_path", "file", "folder"];
  }
  if (files && has(/\b(pattern|glob)\b/)) return ["pattern"];
  if (has(/\bold\b/)) return ["old_text"];
  if (has(/\b(query|search|keyword)\b/)) return ["entity", "text"];
  if (has(/\b(type|kind|category|relation)\b/)) return ["text"];
  if (has(/\b(name|names|title|label|id|ids|from|to|user|subject)\b/)) return ["new_name", "entity"];
  if (has(/\b(content|contents|text|message|observation|observations|body|note|description|comment|prompt)\b/)) {
    return ["text"];
  }
  return ["text", "entity"];
}

/** What the arguments before are about. */
interface About {
  file?: string;
  folder?: string;
  /** True if the tool is for folders. */
  folders: boolean;
}

function valueOf(
  { kind, schema, path }: Leaf,
  world: World,
  words: Words,
  taken: Set<Json>,
  { file, folder, folders }: About,
): Json | null {
  const free = <T extends Json>(items: readonly T[]) => {
    const left = items.filter((item) => !taken.has(item));
    return left.length > 0 ? words.pick(left) : null;
  };
  switch (kind) {
    case "enum":
      return words.pick(schema.enum as Json[]);
    case "fixed":
      return schema.const ?? null;
    case "boolean":
      return true;
    case "number":
      return numberIn(schema, nameOf({ path }), words);
    case "file":
      return free(Object.keys(world.files));
    case "folder":
      return free(world.folders);
    case "new_path":
      return folders || folder !== undefined ? words.word() : `${words.word()}.txt`;
    case "entity":
      return free(world.entities);
    case "new_name":
      return capital(words.word());
    case "old_text":
      return file === undefined ? null : world.files[file]?.split(" ")[0] ?? null;
    case "pattern":
      return `**/${basename(words.pick(Object.keys(world.files).filter((path) => path.startsWith(folder ?? ""))))}`;
    default:
      return words.text();
  }
}

const SLOW = /duration|second|delay|timeout|wait|steps?$/;

/** Whether the call takes as long as it is told to. */
export function isSlow({ leaves }: Form): boolean {
  return leaves.some((leaf) => leaf.kind === "number" && SLOW.test(nameOf(leaf)));
}

/** Small numbers; what sounds like a duration or a number of steps is kept at the least. */
function numberIn({ minimum, maximum }: JsonObject, name: string, words: Words): number {
  const low = typeof minimum === "number" ? Math.ceil(minimum) : 1;
  const slow = SLOW.test(name);
  const few = /head|tail|limit|count|id$/.test(name);
  const most = slow ? low : few ? low + 8 : low + 98;
  return words.number(low, Math.max(low, typeof maximum === "number" ? Math.min(Math.floor(maximum), most) : most));
}

/** Combinations of one element each, the first ones first. */
function combinations<T>(lists: T[][]): T[][] {
  return lists.reduce<T[][]>(
    (made, list) => made.flatMap((start) => list.map((next) => [...start, next])).slice(0, MOST_COMBINATIONS),
    [[]],
  );
}

function objectOf(value: Json | undefined): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

function requiredOf({ required }: JsonObject): string[] {
  return Array.isArray(required) ? required.map(String) : [];
}

function capital(word: string): string {
  return word[0]!.toUpperCase() + word.slice(1);
}

/** The last part of a path. */
export function basename(path: string): string {
  return path.split("/").at(-1)!;
}
