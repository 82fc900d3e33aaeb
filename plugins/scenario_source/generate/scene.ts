/** Initial states of scenarios: what exists already, files of the setup, and calls of tools that make something. @module */
import type { CallSpec, Scenario, ToolSpec } from "@hone/hone";
import { fill, type Filled, type Form, type World } from "./argument_forms.ts";
import type { Words } from "./words.ts";

/** An initial state, and what exists in it. */
export interface Scene {
  setup: Scenario["setup"];
  world: World;
}

/** What scenes are made of. */
export interface Stage {
  /** True if rollouts have a folder of their own. */
  has_folder: boolean;
  /** What exists without a setup. */
  found: World;
  /** Forms of calls that make something with a name. */
  creators: Form[];
  /** Names of tools that several servers have. */
  shared_names: ReadonlySet<string>;
}

/** A world without anything. */
export const NOWHERE: World = { files: {}, folders: [], entities: [] };

/** A scene with new files and entities. */
export function makeScene(stage: Stage, words: Words): Scene {
  const { has_folder, found, creators } = stage;
  const made = creators.flatMap((form) => [form, form]).flatMap((form) => fill(form, NOWHERE, words) ?? []);
  const entities = made.flatMap(({ values }) =>
    values.flatMap(({ leaf, value }) => leaf.kind === "new_name" ? [String(value)] : [])
  );
  const files = has_folder ? newFiles(words) : { files: {}, folders: [] };
  const calls = made.map((filled) => specOf(filled, stage));
  const setup = {
    ...(has_folder && { files: files.files }),
    ...(calls.length > 0 && { calls }),
  };
  return {
    setup: Object.keys(setup).length > 0 ? setup : undefined,
    world: {
      files: { ...found.files, ...files.files },
      folders: files.folders,
      entities: [...entities, ...(creators.length > 0 ? [] : found.entities)],
    },
  };
}

/** Two files, and a folder with one to four. */
function newFiles(words: Words): Pick<World, "files" | "folders"> {
  const folder = words.word();
  const inside = Array.from({ length: words.number(1, 4) }, () => `${folder}/${words.word()}.txt`);
  const paths = [`${words.word()}.txt`, `${words.word()}.txt`, ...inside];
  return { files: Object.fromEntries(paths.map((path) => [path, words.text()])), folders: [folder] };
}

/** A call as scenarios write it: with its server only where the tool's name does not say which. */
export function specOf(
  { form: { tool }, arguments: given }: Filled,
  { shared_names }: Pick<Stage, "shared_names">,
): CallSpec {
  return { ...(shared_names.has(tool.name) && { server: tool.server }), tool: tool.name, arguments: given };
}

/** Names that more than one of the tools has. */
export function sharedNames(tools: readonly ToolSpec[]): Set<string> {
  const names = tools.map(({ name }) => name);
  return new Set(names.filter((name, i) => names.indexOf(name) !== i));
}
