/**
 * Finds out what tools accept and show, by bounded calls in environments of its own: read-only tools first, whose
 * results name what exists, then the others, each in a fresh environment. The environment's own rules decide which calls
 * are let through; tools that change something outside of the server's own world are not called at all.
 * @module
 */
import {
  type CallSpec,
  type Catalog,
  type Json,
  type JsonObject,
  readTree,
  type Scenario,
  type SourceTools,
} from "@hone/hone";
import { stream, type ToolSpec } from "@hone/hone";
import { fill, type Filled, type Form, formsOf, type World } from "./argument_forms.ts";
import { type Fact, factsOf, isFailure, tellsTime, withoutFolder } from "./facts.ts";
import { CALL_MS, perform } from "./performance.ts";
import { makeScene, NOWHERE, sharedNames, specOf, type Stage } from "./scene.ts";
import { Words } from "./words.ts";

/** A form that a tool accepts. */
export interface KnownForm extends Form {
  /** Forms of the facts in its results. */
  facts: Fact["form"][];
  /** True if the call changes something that can be checked. */
  changes: boolean;
}

/** An entity that exists, and the call whose result names it. */
export interface Entity {
  value: string;
  from: string;
}

/** What probing has found. */
export interface Probed extends Stage {
  forms: KnownForm[];
  entities: Entity[];
  /** Read-only calls whose results show changes. */
  observers: CallSpec[];
  calls: number;
  /** Model names of tools that are not called at all. */
  unfit: string[];
  /** Tools that no form was found for, with the reason. */
  unused: { tool: string; reason: string }[];
}

const MOST_OBSERVERS = 4;
const MOST_ENTITIES = 40;
const ENUM_TRIES = 3;
const TREE_LIMITS = { max_files: 500, max_file_bytes: 200 };

/** Probes the servers' tools with at most `most_calls` calls. */
export async function probe(catalog: Catalog, tools: SourceTools, seed: number, most_calls: number): Promise<Probed> {
  const found = await look(tools);
  const shared_names = sharedNames(catalog.tools);
  const state: Probed = {
    ...found,
    creators: [],
    shared_names,
    forms: [],
    entities: [],
    observers: [],
    calls: 0,
    unfit: [],
    unused: [],
  };
  const unfit = catalog.tools.flatMap((tool) => ({ tool, reason: unfitness(tool) })).filter(({ reason }) => reason);
  const usable = catalog.tools.filter((tool) => !unfit.some((one) => one.tool === tool));
  const [reads, writes] = [usable.filter(isRead), usable.filter((tool) => !isRead(tool))];
  tools.progress("probing the servers' tools");
  state.unfit = unfit.map(({ tool }) => tool.model_name);
  const prober = new Prober(state, tools, seed, most_calls);
  await prober.read(reads);
  await prober.write(writes);
  // What exists only now, because a call of the setup has made it or a result has named it.
  if (state.creators.length > 0 || state.found.entities.length > 0) {
    await prober.read(reads);
    await prober.write(writes);
  }
  const unknown = usable.filter((tool) => !state.forms.some((form) => form.tool === tool));
  state.unused = [
    ...unfit.map(({ tool, reason }) => ({ tool: tool.name, reason: reason! })),
    ...unknown.map(({ name }) => ({
      tool: name,
      reason: prober.failures.get(name) ?? "its arguments could not be made",
    })),
  ];
  return state;
}

/** Why a tool is not called at all; undefined for most. */
function unfitness({ annotations, description }: ToolSpec): string | undefined {
  if (annotations.open_world && !annotations.read_only) return "it changes something outside of the server";
  if (/\bdeprecated\b/i.test(description)) return "its description says that it is deprecated";
  return /environment variable/i.test(description) ? "it shows the environment of this machine" : undefined;
}

function isRead({ annotations }: ToolSpec): boolean {
  return annotations.read_only === true;
}

/** What is there without a setup. */
async function look(tools: SourceTools): Promise<Pick<Probed, "has_folder" | "found">> {
  await using environment = await tools.lease();
  if (environment.workdir === null) return { has_folder: false, found: { ...NOWHERE } };
  const { tree } = await readTree(environment.workdir, TREE_LIMITS);
  const files = Object.entries(tree).filter(([path, entry]) => isPlain(path) && isShortText(entry));
  return { has_folder: true, found: { ...NOWHERE, files: Object.fromEntries(files) as Record<string, string> } };
}

function isPlain(path: string): boolean {
  return /^[\w./-]+$/.test(path) && !path.split("/").some((part) => part.startsWith("."));
}

function isShortText(entry: unknown): boolean {
  return typeof entry === "string" && /^[^\n]{1,80}\n?$/.test(entry);
}

/** Whether the state that a check expects names what the call was to make. */
function names(check: object, { values }: Filled): boolean {
  const text = JSON.stringify(check);
  return values.some(({ leaf, value }) => leaf.kind === "new_name" && text.includes(JSON.stringify(value)));
}

class Prober {
  readonly failures = new Map<string, string>();
  readonly #words: Words;
  readonly #tried = new Set<string>();

  constructor(
    private readonly state: Probed,
    private readonly tools: SourceTools,
    seed: number,
    private readonly most_calls: number,
  ) {
    this.#words = new Words(stream(seed, "probe"));
  }

  /** Calls read-only tools in two environments in turn: what differs between them is no fact. */
  async read(tools: readonly ToolSpec[]): Promise<void> {
    const { setup, world } = makeScene(this.state, this.#words);
    const calls = tools.flatMap((tool) => this.#untried(tool, world));
    const first = await this.#answers(setup, calls);
    const second = await this.#answers(setup, calls.map((call, i) => first[i] ? call : null));
    for (const [i, filled] of calls.entries()) {
      const [one, two] = [first[i], second[i]];
      if (!one || !two) continue;
      const given = filled.values.map(({ value }) => value);
      const facts = one.facts.filter(({ form, label, value }) =>
        !given.includes(value) &&
        two.facts.some((other) => other.form === form && other.label === label && other.value === value)
      );
      this.#know(filled, { facts: [...new Set(facts.map(({ form }) => form))], changes: false });
      const is_stable = one.text === two.text && !tellsTime(one.text);
      if (filled.values.length === 0 && is_stable) this.#observe(specOf(filled, this.state));
      this.#name(one.result, filled.form.tool.name);
    }
  }

  /** Calls other tools, each in an environment of its own. */
  async write(tools: readonly ToolSpec[]): Promise<void> {
    for (const tool of tools) {
      const { setup, world } = makeScene(this.state, this.#words);
      for (const filled of this.#untried(tool, world)) {
        if (this.#isSpent()) return;
        this.state.calls++;
        const performed = await perform(this.tools, setup, [{ filled }], this.state.observers);
        if (typeof performed === "string") {
          this.failures.set(tool.name, performed);
          continue;
        }
        const changes = performed.checks.length > 0;
        // A tool that says it changes something, and did not: what it was given is not there, or there already.
        if (!changes && tool.annotations.read_only === false && filled.values.length > 0) {
          this.failures.set(tool.name, "its calls change nothing that can be observed");
          continue;
        }
        this.#know(filled, { facts: performed.facts[0]!.map(({ form }) => form), changes });
        const creates = performed.checks.some((check) => "call" in check && names(check, filled)) &&
          filled.values.some(({ leaf }) => leaf.kind === "new_name") &&
          filled.values.every(({ leaf }) => leaf.kind !== "entity");
        const known = this.state.creators.some((form) => form.tool.server === tool.server);
        if (creates && !known) this.state.creators.push(filled.form);
      }
    }
  }

  /** Filled forms that were not called yet. */
  #untried(tool: ToolSpec, world: World): Filled[] {
    return formsOf(tool, world).flatMap((form) => {
      // What shows everything shows more once there is something.
      const pass = form.leaves.length === 0 ? this.state.creators.length : 0;
      const key = JSON.stringify([pass, tool.model_name, form.leaves.map(({ path, kind }) => [path, kind])]);
      if (this.#tried.has(key)) return [];
      // Some of the values that a schema lists may be those that fail.
      const tries = form.leaves.some(({ kind }) => kind === "enum") ? ENUM_TRIES : 1;
      const filled = Array.from({ length: tries }, () => fill(form, world, this.#words)).filter((one) => one !== null);
      if (filled.length > 0) this.#tried.add(key);
      return filled;
    });
  }

  /** What the calls answer in a fresh environment; undefined for one that fails, and for none. */
  async #answers(setup: Scenario["setup"], calls: (Filled | null)[]) {
    await using environment = await this.tools.lease({ setup });
    const answers: ({ facts: Fact[]; text: string; result: Json } | undefined)[] = [];
    for (const call of calls) {
      if (this.#isSpent()) break;
      if (!call) {
        answers.push(undefined);
        continue;
      }
      const { form: { tool }, arguments: given } = call;
      this.state.calls++;
      const limit = AbortSignal.any([this.tools.signal, AbortSignal.timeout(CALL_MS)]);
      const { outcome, text, result } = await environment.call(tool.model_name, given, { signal: limit });
      this.tools.signal.throwIfAborted();
      const fails = outcome !== "ok" || isFailure(text);
      if (fails) this.failures.set(tool.name, `its calls failed (${outcome})`);
      const shown = withoutFolder(text, environment.workdir);
      const facts = factsOf({ text, result }, environment.workdir);
      answers.push(fails ? undefined : { facts, text: shown, result });
    }
    return answers;
  }

  #know({ form }: Filled, found: Pick<KnownForm, "facts" | "changes">): void {
    const kinds = (one: Form) => String(one.leaves.map(({ kind, path }) => [kind, ...path]));
    const known = this.state.forms.findIndex((one) => one.tool === form.tool && kinds(one) === kinds(form));
    if (known >= 0) this.state.forms.splice(known, 1);
    this.state.forms.push({ ...form, ...found });
  }

  #observe(call: CallSpec): void {
    const known = this.state.observers.some(({ server, tool }) => server === call.server && tool === call.tool);
    if (!known && this.state.observers.length < MOST_OBSERVERS) this.state.observers.push(call);
  }

  /** Collects names and ids from a result, where rollouts have no folder: files are listed better by the folder. */
  #name(result: Json, from: string): void {
    if (this.state.has_folder) return;
    for (const value of namesIn(result)) {
      if (this.state.entities.length >= MOST_ENTITIES) return;
      if (this.state.entities.some((known) => known.value === value)) continue;
      this.state.entities.push({ value, from });
      this.state.found.entities.push(value);
    }
  }

  #isSpent(): boolean {
    return this.state.calls >= this.most_calls;
  }
}

/** Names and ids of the objects in a result. */
function namesIn(result: Json): string[] {
  const structured = (result as JsonObject | null)?.structuredContent;
  const found: string[] = [];
  const visit = (value: Json | undefined, depth: number): void => {
    if (depth > 4 || typeof value !== "object" || value === null) return;
    if (Array.isArray(value)) return value.slice(0, 50).forEach((one) => visit(one, depth + 1));
    for (const [key, inner] of Object.entries(value)) {
      const names = /^(id|name|title|slug|key|uid|login|email)$|(_id|Id|Name)$/.test(key);
      if (names && typeof inner === "string" && /^[\w .@:#-]{2,40}$/.test(inner)) found.push(inner);
      visit(inner, depth + 1);
    }
  };
  visit(structured, 0);
  return found;
}

/** The forms as a cache stores them: tools by name. */
export function storedForms(probed: Probed): JsonObject {
  const by_name = (form: Form) => ({ ...form, tool: form.tool.model_name });
  return JSON.parse(JSON.stringify({
    ...probed,
    shared_names: [],
    forms: probed.forms.map(by_name),
    creators: probed.creators.map(by_name),
  }));
}

/** What `storedForms` stored, for a catalog with the same tools. */
export function readForms(stored: JsonObject, catalog: Catalog): Probed {
  const tools = new Map(catalog.tools.map((tool) => [tool.model_name, tool]));
  const with_tool = (form: JsonObject) => ({ ...form, tool: tools.get(String(form.tool))! });
  return {
    ...stored,
    shared_names: sharedNames(catalog.tools),
    forms: (stored.forms as JsonObject[]).map(with_tool),
    creators: (stored.creators as JsonObject[]).map(with_tool),
  } as unknown as Probed;
}
