/**
 * Overrides (`--set`) applied to a parsed pipeline before it is validated. A stage is named by its index, its id, its
 * `use`, the plugin's short name or its kind; the last three only if they are unique.
 * @module
 */
import { basename, extname } from "node:path";
import { isMap, isScalar, isSeq } from "yaml";
import { config as say, type Diagnostic } from "../diagnostics/mod.ts";
import type { Json } from "../events.ts";
import { fieldName, type Path, type Source, valueAt } from "./source.ts";

/** Sets values by dotted path; reports unknown and ambiguous stages. */
export function override(source: Source, values: Record<string, Json>): Diagnostic[] {
  const problems: Diagnostic[] = [];
  const raw = valueAt(source.raw, ["stages"]);
  const stages = Array.isArray(raw) ? raw.map(namesOf) : [];
  for (const [dotted, value] of Object.entries(values)) {
    let path: Path = dotted.split(".");
    if (path[0] === "tape") path = ofTape(source, path, value);
    if (path[0] === "stages" && path.length > 1) {
      const found = find(stages, String(path[1]));
      if (found.length !== 1) {
        problems.push(
          found.length === 0
            ? say.override_unknown(dotted, String(path[1]), known(stages), shown(stages))
            : say.override_ambiguous(dotted, String(path[1]), found.map((index) => [index, stages[index]!.use])),
        );
        continue;
      }
      path[1] = found[0]!;
    }
    const blocked = blocking(source, path);
    if (blocked === undefined) source.override(path, value);
    else problems.push(say.override_blocked(dotted, fieldName(blocked), valueAt(source.raw, blocked)));
  }
  return problems;
}

/** The path of the first value on the way to `path` that cannot hold the next key; undefined if there is none. */
function blocking({ doc }: Source, path: Path): Path | undefined {
  for (let length = 1; length < path.length; length++) {
    const before = path.slice(0, length);
    const node = doc.getIn(before, true);
    if (node === undefined) return undefined;
    const holds = isMap(node) || isSeq(node) && /^\d+$/.test(String(path[length])) ||
      isScalar(node) && node.value === null;
    if (!holds) return before;
    // What is empty becomes a map.
    if (isScalar(node)) doc.setIn(before, doc.createNode({}));
  }
}

/** Merges the two forms of `tape:`: setting the mode keeps the map, setting a field keeps the mode. */
function ofTape({ doc }: Source, path: Path, value: Json): Path {
  const written = doc.get("tape");
  if (path.length > 1 && typeof written === "string") doc.set("tape", doc.createNode({ mode: written }));
  return path.length === 1 && typeof value === "string" && isMap(written) ? ["tape", "mode"] : path;
}

/** The names of a stage. */
interface Names {
  id: string;
  use: string;
  short: string;
  kind: string;
}

function namesOf(stage: unknown): Names {
  const [id, use] = ["id", "use"].map((key) => String(valueAt(stage, [key]) ?? ""));
  const builtin = /^([a-z-]+)\/[\w-]+$/.exec(use!);
  return { id: id!, use: use!, short: basename(use!, extname(use!)), kind: builtin?.[1] ?? "" };
}

/** Stages with this name: the first kind of name that matches any stage is used. */
function find(stages: Names[], word: string): number[] {
  const number = stages.findIndex((_, index) => String(index) === word);
  if (number >= 0) return [number];
  for (const way of ["id", "use", "short", "kind"] as const) {
    const found = stages.flatMap((stage, index) => stage[way] === word ? [index] : []);
    // The id of a stage without one is the plugin's name.
    const unnamed = way === "kind" ? [] : found.filter((index) => stages[index]!.id === "");
    if (found.length > 0) return unnamed.length === 1 ? unnamed : found;
  }
  return [];
}

/** One name of each stage. */
function shown(stages: Names[]): string[] {
  const names = new Set(known(stages));
  return stages.map(({ id, use, short }, index) => [id, use, short].find((name) => names.has(name)) ?? String(index));
}

/** Every name that identifies exactly one stage. */
function known(stages: Names[]): string[] {
  const ways = ["id", "short", "kind", "use"] as const;
  const names = ways.flatMap((way) => stages.map((stage) => stage[way]));
  return [...new Set(names)].filter((name) => name !== "" && !name.includes(".") && find(stages, name).length === 1);
}
