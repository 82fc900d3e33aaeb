/**
 * The facts about a kind of plugin. Each kind has its file here; `kinds.ts` is the table of them.
 * @module
 */
import type { Catalog, JsonObject, Scenario, Trajectory } from "../events.ts";
import type { ExportArgs, Kind, Llm, Plugin, Roles, RolloutArgs, SourceTools } from "../plugin.ts";
import type { Hello } from "../program/hello.ts";
import type { Program } from "../program/program.ts";

/** One kind of plugin. */
export interface KindFacts<K extends Kind> {
  /** Maximum number of stages of the kind in a pipeline. */
  most: 1 | "any";
  /** Why a pipeline needs one, as a sentence after "Missing stage: …."; absent for optional kinds. */
  why?: string;
  /** Functions that the role must have. */
  methods: string[];
  /** The role implemented by a program (`exec:`); absent if the kind does not support programs. */
  exec?: (program: Program, hello: Hello) => Roles[K];
  template: Template;
  /** Calls the role with `given`, and throws an Error if a result is invalid. */
  check?: (role: Roles[K], given: Given) => Promise<void>;
  /** The same with a signal that is aborted during the work; settles when the role's work has ended. */
  aborted?: (role: Roles[K], given: Given) => Promise<unknown>;
}

/** Arguments for checking a role. */
export interface Given {
  plugin: Plugin;
  scenario: Scenario;
  trajectory: Trajectory;
  catalog: Catalog;
  /** Aborted in `aborted`, before or during the role's work. */
  signal: AbortSignal;
  llm: Llm;
  rollout: RolloutArgs;
  export: ExportArgs;
  source: SourceTools;
}

/** Template of `hone new`: a small working plugin to start from. */
export interface Template {
  summary: string;
  /** Types imported from hone, besides Plugin. */
  types: string[];
  /** Source of the settings' fields. */
  config: string;
  /** Source of the example's settings. */
  example: string;
  /** Source of `create`. */
  create: string;
  /** Source of a test of the plugin in `./<stem>.ts`, in addition to its conformance tests. */
  test?: (stem: string) => string;
}

/** Throws unless `value` is an object with `fields` of the given types. */
export function mustHave(value: unknown, what: string, fields: Record<string, string>): JsonObject {
  if (typeof value !== "object" || value === null) throw new Error(`${what} is not an object`);
  for (const [name, type] of Object.entries(fields)) {
    const found = (value as JsonObject)[name];
    const is = Array.isArray(found) ? "array" : typeof found;
    if (is !== type) throw new Error(`${what} has no ${name} (${type})`);
  }
  return value as JsonObject;
}
