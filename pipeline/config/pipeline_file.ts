/**
 * Reads a pipeline file, or refuses it whole: every problem at once, each at its place, before anything runs.
 * Two passes over the same positions (the pipeline's schema, then each plugin's own over its `with:`), then what lies
 * between the parts: the graph, paths, environment variables.
 * @module
 */
import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { stringify } from "yaml";
import { checkGraph, type Finding, nameStages, type Placed } from "./stage_graph.ts";
import { explain, jsonSchema } from "./issues.ts";
import { override } from "./overrides.ts";
import { judgedBy, missingSplits, previewScenarios, type Ready } from "../scenario/preview.ts";
import { pipeline_schema, type PipelineConfig } from "./pipeline_schema.ts";
import { config as say, type Diagnostic, HoneError } from "../diagnostics/mod.ts";
import type { Json, JsonObject, Scenario } from "../events.ts";
import { clientEntries, clientText, serversIn } from "../mcp/declared/client_file.ts";
import { type Builtins, loadPlugin } from "../loader.ts";
import type { Plugin } from "../plugin.ts";
import { TAPE_FILE } from "../tape/lines.ts";
import { fieldName, type Path, Source, valueAt } from "./source.ts";

/** A stage, ready to be created. */
export interface LoadedStage {
  id: string;
  use: string;
  plugin: Plugin;
  /** The stage's `with:`, parsed by the plugin's own schema. */
  with: unknown;
}

/** A pipeline that can run. */
export interface LoadedPipeline {
  /** Absolute path of the file. */
  path: string;
  /** Absolute folder that relative paths are relative to. */
  base_dir: string;
  text: string;
  config: PipelineConfig;
  stages: LoadedStage[];
  /** Everything with its defaults, for the run's folder; environment values stay `${NAME}`. Loads as the original did. */
  resolved_yaml: string;
}

/** How a pipeline is read. */
export interface LoadOptions {
  /** The table of `plugins/mod.ts`. */
  builtins: Builtins;
  /** Environment; the process's own when left out. */
  env?: Record<string, string>;
  /** Values by dotted path that replace those of the file: `train.steps`, `stages.file.with.path`; see `override`. */
  overrides?: Record<string, Json>;
  /** False to leave the world out: environment, paths and plugins by path (for files meant for elsewhere). */
  world?: boolean;
  /** False where nothing will be trained, whatever the ladder: scenarios to train on are not asked for. */
  trains?: boolean;
  signal?: AbortSignal;
}

const RESOLVED = "# resolved by hone from ";

/** Reads the pipeline at `path`; throws a HoneError with all diagnostics. */
export async function loadPipeline(path: string, options: LoadOptions): Promise<LoadedPipeline> {
  const text = await readFile(path, "utf8").catch((error) => {
    if (error.code === "EISDIR") {
      const inside = join(path, "pipeline.yaml");
      throw new HoneError(say.pipeline_is_folder(path, existsSync(inside) ? inside : undefined));
    }
    throw new HoneError(error.code === "ENOENT" ? say.file_not_found(path) : say.file_unreadable(path, error.message));
  });
  const { loaded, diagnostics } = await examinePipeline(text, path, options);
  if (!loaded) throw new HoneError(diagnostics);
  return loaded;
}

/** Examines the text of a pipeline; `file` is the path that it stands at. `loaded` is there when nothing is wrong. */
export async function examinePipeline(
  text: string,
  file: string,
  options: LoadOptions,
): Promise<{ loaded?: LoadedPipeline; diagnostics: Diagnostic[] }> {
  const origin = text.startsWith(RESOLVED) ? text.slice(RESOLVED.length, text.indexOf("\n")) : file;
  const reading = new Reading(new Source(text, file), dirname(resolve(origin)), options);
  const loaded = await reading.read();
  const files = [file, ...reading.diagnostics.map((diagnostic) => diagnostic.file)];
  const diagnostics = reading.diagnostics.toSorted((a, b) =>
    files.indexOf(a.file) - files.indexOf(b.file) || (a.line ?? 0) - (b.line ?? 0) || (a.col ?? 0) - (b.col ?? 0)
  );
  if (!loaded || diagnostics.length > 0) return { diagnostics };
  return {
    diagnostics,
    loaded: { ...loaded, path: resolve(file), resolved_yaml: resolved(origin, loaded.config, reading.raw) },
  };
}

/** One reading of one file: what has been found so far. */
class Reading {
  readonly diagnostics: Diagnostic[] = [];
  readonly #env: Record<string, string>;
  readonly #world: boolean;
  /** The servers as their own file writes them, where they have one. */
  #servers_raw: unknown;
  /** The scenarios of all sources, where they could be read. */
  #scenarios: Scenario[] | undefined;

  constructor(readonly source: Source, readonly base_dir: string, readonly options: LoadOptions) {
    this.#env = options.env ?? Deno.env.toObject();
    this.#world = options.world ?? true;
  }

  async read(): Promise<Omit<LoadedPipeline, "path" | "resolved_yaml"> | undefined> {
    const { source } = this;
    if (source.text.trim() === "") return this.#stop({ ...say.empty_file(), file: source.file, line: 1, col: 1 });
    this.diagnostics.push(...source.syntax());
    if (this.diagnostics.length > 0) return undefined;
    if (source.raw === null) return this.#stop({ ...say.empty_file(), file: source.file, line: 1, col: 1 });
    if (typeof source.raw !== "object" || Array.isArray(source.raw)) {
      return this.#stop(source.at(say.not_a_map(source.raw), []));
    }
    this.diagnostics.push(...override(source, this.options.overrides ?? {}));
    this.#fillAddresses();
    if (this.#world) this.diagnostics.push(...source.interpolate(this.#env, (field) => this.#spared(field)));
    const value = source.value() as Record<string, unknown>;
    const servers_ok = await this.#readServers(value);
    const parsed = pipeline_schema.safeParse(value);
    if (!parsed.success) {
      const issues = parsed.error.issues.filter(({ path }) => servers_ok || path[0] !== "servers");
      this.diagnostics.push(...explain(issues, source, pipeline_schema));
    }
    const stages = await this.#readStages(value.stages);
    if (this.#world) await this.#checkWorld(value);
    if (!parsed.success || !stages || this.diagnostics.length > 0) return undefined;
    const config = await this.#complete(parsed.data, stages);
    this.#checkSplits(config, stages);
    return { base_dir: this.base_dir, text: source.text, config, stages };
  }

  /** Values as written. */
  get raw(): unknown {
    return this.#servers_raw === undefined
      ? this.source.raw
      : { ...this.source.raw as JsonObject, servers: this.#servers_raw };
  }

  #stop(diagnostic: Diagnostic): undefined {
    this.diagnostics.push(diagnostic);
  }

  #report({ diagnostic, path, side }: Finding): void {
    this.diagnostics.push(this.source.at(diagnostic, path, side));
  }

  /** True where the tape stands for every server and key. */
  get #replays(): boolean {
    const { doc } = this.source;
    return doc.get("tape") === "replay" ||
      doc.getIn(["tape", "mode"]) === "replay" && doc.getIn(["tape", "on_miss"]) !== "live";
  }

  /** True for fields that nobody reads in a replay: their environment need not be there. */
  #spared(field: string): boolean {
    return this.#replays && /^(servers|agent\.endpoint)\./.test(field);
  }

  /** A server with neither command nor url is the one that `MCP_URL` names, where that is set. */
  #fillAddresses(): void {
    const servers = valueAt(this.source.raw, ["servers"]);
    if (!this.#world || this.#env.MCP_URL === undefined || typeof servers !== "object" || servers === null) return;
    const { doc } = this.source;
    for (const [name, entry] of Object.entries(servers)) {
      if (entry === null) doc.setIn(["servers", name], doc.createNode({ url: "${MCP_URL}" }));
      else if (typeof entry === "object" && !("command" in entry) && !("url" in entry)) {
        doc.setIn(["servers", name, "url"], doc.createNode("${MCP_URL}"));
      }
    }
  }

  /** Reads `servers: ./mcp.json` in place; false where that failed. */
  async #readServers(value: Record<string, unknown>): Promise<boolean> {
    if (typeof value.servers !== "string") return true;
    const path = value.servers;
    const text = this.#world ? await readFile(resolve(this.base_dir, path), "utf8").catch(() => undefined) : "";
    if (text === undefined) {
      this.#report({ diagnostic: say.path_not_found("servers", path, this.base_dir), path: ["servers"] });
      return false;
    }
    if (text === "") {
      delete value.servers;
      return true;
    }
    const file = new Source(clientText(text, path), path);
    const problems = [
      ...file.syntax(),
      ...(file.raw === undefined ? [] : file.interpolate(this.#env, () => this.#replays)),
    ];
    this.diagnostics.push(...problems);
    const { path: at, entries } = (problems.length === 0 ? serversIn(file.value()) : undefined) ?? { path: [] };
    if (problems.length === 0 && (typeof entries !== "object" || entries === null)) {
      this.#report({ diagnostic: say.servers_file(path), path: ["servers"] });
    }
    if (typeof entries !== "object" || entries === null) return false;
    this.#servers_raw = clientEntries(valueAt(file.raw, at));
    value.servers = clientEntries(entries);
    const parsed = pipeline_schema.shape.servers.safeParse(value.servers);
    if (parsed.success) return true;
    this.diagnostics.push(...explain(prefixed(parsed.error.issues, at), file, pipeline_schema));
    return false;
  }

  /** Loads every plugin, parses every `with:`, and checks the graph where all could be loaded. */
  async #readStages(stages: unknown): Promise<LoadedStage[] | undefined> {
    if (!Array.isArray(stages)) return undefined;
    const placed: (Placed & { use: string; with: unknown; sound: boolean })[] = [];
    for (const [index, stage] of stages.entries()) {
      const use = valueAt(stage, ["use"]);
      if (typeof use !== "string") continue;
      const plugin = await this.#load(use, index);
      if (!plugin) continue;
      const given = valueAt(stage, ["with"]) ?? {};
      const parsed = await plugin.config.safeParseAsync(given);
      const base = ["stages", index, "with"];
      const before = this.diagnostics.length;
      if (!parsed.success) this.diagnostics.push(...explain(parsed.error.issues, this.source, plugin.config, base));
      else if (this.#world) await this.#checkPaths(jsonSchema(plugin.config), given, base);
      const id = valueAt(stage, ["id"]);
      const sound = this.diagnostics.length === before;
      placed.push({ index, id: typeof id === "string" ? id : undefined, plugin, use, with: parsed.data, sound });
    }
    const { ids, findings } = nameStages(placed);
    if (placed.length === stages.length) {
      findings.push(...checkGraph(this.source.value(), placed, Object.keys(this.options.builtins)));
    }
    findings.forEach((finding) => this.#report(finding));
    if (this.#world) {
      const ready = placed.map((stage, i) => ({ ...stage, id: ids[i]! })).filter(({ sound }) => sound);
      await this.#previewScenarios(ready, placed.length === ready.length && placed.length === stages.length);
    }
    return placed.map(({ use, plugin, with: settings }, i) => ({ id: ids[i]!, use, plugin, with: settings }));
  }

  /** What the sources say of their scenarios; what judges want of them only where every judge could be loaded. */
  async #previewScenarios(ready: Ready[], whole: boolean): Promise<void> {
    const judged_by = whole ? judgedBy(ready) : [];
    const { problems, scenarios } = await previewScenarios(ready, this.base_dir, judged_by);
    for (const { index, diagnostic } of problems) {
      if (diagnostic.file === undefined) this.#report({ diagnostic, path: ["stages", index, "use"] });
      else this.diagnostics.push(diagnostic);
    }
    this.#scenarios = scenarios;
  }

  #checkSplits(config: PipelineConfig, stages: LoadedStage[]): void {
    if (!this.#scenarios) return;
    const { trains = true } = this.options;
    const source = stages.findIndex(({ plugin }) => plugin.kind === "scenario-source");
    for (const diagnostic of missingSplits(trains ? config : { ...config, ladder: [] }, this.#scenarios)) {
      this.#report({ diagnostic, path: ["stages", source] });
    }
  }

  async #load(use: string, index: number): Promise<Plugin | undefined> {
    const { builtins, signal } = this.options;
    if (!this.#world && !Object.hasOwn(builtins, use) && !/^[a-z-]+\/[\w-]+$/.test(use)) return undefined;
    try {
      return await loadPlugin(use, { base_dir: this.base_dir, builtins, signal });
    } catch (error) {
      if (!(error instanceof HoneError)) throw error;
      for (const diagnostic of error.diagnostics) this.#report({ diagnostic, path: ["stages", index, "use"] });
      return undefined;
    }
  }

  /** Settings that a schema marks with `.meta({ path: "exists" })` (a path, or a list of them) must name something. */
  async #checkPaths(schema: JsonObject | Record<string, unknown>, value: unknown, path: Path): Promise<void> {
    if (schema.path === "exists") {
      for (const [i, entry] of [value].flat().entries()) {
        const at = Array.isArray(value) ? [...path, i] : path;
        if (typeof entry === "string") await this.#mustExist(entry, at);
      }
    }
    for (const [key, inner] of Object.entries((schema.properties ?? {}) as Record<string, JsonObject>)) {
      await this.#checkPaths(inner, valueAt(value, [key]), [...path, key]);
    }
  }

  /** What the file asks of the machine: paths that exist, environment variables that are set. */
  async #checkWorld(value: Record<string, unknown>): Promise<void> {
    const prompt = valueAt(value, ["agent", "system_prompt"]);
    if (isRelative(prompt)) await this.#mustExist(prompt, ["agent", "system_prompt"]);
    if (isRelative(value.model)) await this.#mustExist(value.model, ["model"]);
    const inline = typeof this.source.raw === "object" && typeof valueAt(this.source.raw, ["servers"]) === "object";
    for (const [name, server] of inline && value.servers ? Object.entries(value.servers) : []) {
      for (const key of ["fixture", "cwd"]) {
        const path = valueAt(server, [key]);
        if (typeof path === "string" && !path.includes("${")) await this.#mustExist(path, ["servers", name, key]);
      }
    }
    this.#checkNames(value, []);
  }

  /** A field whose name ends in `_env` names an environment variable. */
  #checkNames(value: unknown, path: Path): void {
    if (value === null || typeof value !== "object") return;
    for (const [key, inner] of Object.entries(value)) {
      const here = [...path, Array.isArray(value) ? Number(key) : key];
      if (key.endsWith("_env") && typeof inner === "string" && this.#env[inner] === undefined) {
        if (!this.#spared(fieldName(here))) {
          this.#report({ diagnostic: say.env_named_not_set(inner, fieldName(here)), path: here });
        }
      } else this.#checkNames(inner, here);
    }
  }

  async #mustExist(path: string, at: Path): Promise<void> {
    const found = await stat(resolve(this.base_dir, path)).catch(() => null);
    if (!found) this.#report({ diagnostic: say.path_not_found(fieldName(at), path, this.base_dir), path: at });
  }

  /** Fills in what depends on other parts: the prompt's text, the model's folder, the ladder without a trainer. */
  async #complete(config: PipelineConfig, stages: LoadedStage[]): Promise<PipelineConfig> {
    const { system_prompt } = config.agent;
    if (this.#world && isRelative(system_prompt)) {
      const text = await readFile(resolve(this.base_dir, system_prompt), "utf8");
      config.agent.system_prompt = text.trimEnd();
    }
    if (isRelative(config.model)) config.model = resolve(this.base_dir, config.model);
    const { tape } = config;
    if (tape.path !== undefined) tape.path = resolve(this.base_dir, tape.path);
    else if (tape.mode === "replay") tape.path = resolve(dirname(this.source.file), TAPE_FILE);
    if (!stages.some(({ plugin }) => plugin.kind === "trainer")) {
      config.ladder = config.ladder.filter((rung) => rung === "prompt");
    }
    const reachable = ["base", ...config.ladder, ...(config.ladder.some((rung) => rung !== "prompt") ? ["tuned"] : [])];
    config.evaluate.policies = config.evaluate.policies.filter((policy) => reachable.includes(policy));
    config.stages = stages.map(({ id, use, with: parsed }) => ({ id, use, with: parsed as Record<string, unknown> }));
    return config;
  }
}

/** True for text that is a path by its beginning. */
function isRelative(value: unknown): value is string {
  return typeof value === "string" && /^\.{1,2}[\\/]/.test(value) && !value.includes("\n");
}

/** Issues of `servers` as issues of a file whose servers stand at `at`. */
function prefixed<T extends { path: PropertyKey[] }>(issues: T[], at: string[]): T[] {
  return issues.map((issue) => ({ ...issue, path: [...at, ...issue.path] }));
}

/** The pipeline with its defaults as YAML, `${NAME}` kept wherever it was written. */
function resolved(origin: string, config: PipelineConfig, raw: unknown): string {
  const text = JSON.stringify(config);
  const whole = JSON.parse(text, (_, value) => typeof value === "string" ? escapeReferences(value) : value);
  restore(whole, raw);
  return `${RESOLVED}${resolve(origin)}\n${stringify(whole, { lineWidth: 120 })}`;
}

/** Text that reads as itself when the file is read again. */
function escapeReferences(text: string): string {
  return text.replace(/\$\{(?!workdir\})[^}]*\}/g, (reference) => `$${reference}`);
}

/** Puts texts with `${…}` back over what the environment made of them. */
function restore(into: unknown, raw: unknown): void {
  if (into === null || typeof into !== "object" || raw === null || typeof raw !== "object") return;
  for (const [key, written] of Object.entries(raw)) {
    if (!(key in into)) continue;
    if (typeof written === "string" && written.includes("${")) (into as Record<string, unknown>)[key] = written;
    else restore((into as Record<string, unknown>)[key], written);
  }
}
