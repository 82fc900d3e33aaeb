/**
 * What hone needs to know of a kind of plugin, once. Each kind has its file here; `kinds.ts` is the table of them.
 * @module
 */
import type { Catalog, JsonObject, Scenario, Trajectory } from "../events.ts";
import type { ExportArgs, Kind, Llm, Plugin, Roles, RolloutArgs } from "../plugin.ts";
import type { Hello } from "../program/hello.ts";
import type { Program } from "../program/program.ts";

/** One kind of plugin. */
export interface KindFacts<K extends Kind> {
  /** Stages of the kind that a pipeline takes at most. */
  most: 1 | "any";
  /** Why a pipeline without one cannot run, in words that follow "No stage is a …:"; none where it can. */
  why?: string;
  /** Functions that the role must have. */
  methods: string[];
  /** The role as a program plays it (`exec:`); none where programs cannot. */
  exec?: (program: Program, hello: Hello) => Roles[K];
  template: Template;
  /** Plays the role with what `given` has, and throws an Error that says what is wrong with its results. */
  check?: (role: Roles[K], given: Given) => Promise<void>;
  /** The same with a signal that is aborted meanwhile; resolves or rejects when the role's work has ended. */
  aborted?: (role: Roles[K], given: Given) => Promise<unknown>;
}

/** What a role is tried with. */
export interface Given {
  plugin: Plugin;
  scenario: Scenario;
  trajectory: Trajectory;
  catalog: Catalog;
  /** Aborted in `aborted`, before or while the role works. */
  signal: AbortSignal;
  llm: Llm;
  rollout: RolloutArgs;
  export: ExportArgs;
}

/** What `hone new` writes for a kind: a small plugin that works, to be changed into another. */
export interface Template {
  summary: string;
  /** Types imported from hone, beside Plugin. */
  types: string[];
  /** Source of the settings' fields. */
  config: string;
  /** Source of the example's settings. */
  example: string;
  /** Source of `create`. */
  create: string;
  /** Source of a test of the plugin in `./<stem>.ts`, beside its conformance. */
  test?: (stem: string) => string;
}

/** Throws unless `value` is an object with `fields` of the given types. */
export function mustHave(value: unknown, what: string, fields: Record<string, string>): JsonObject {
  if (typeof value !== "object" || value === null) throw new Error(`${what} is no object`);
  for (const [name, type] of Object.entries(fields)) {
    const found = (value as JsonObject)[name];
    const is = Array.isArray(found) ? "array" : typeof found;
    if (is !== type) throw new Error(`${what} has no ${name} (${type})`);
  }
  return value as JsonObject;
}
