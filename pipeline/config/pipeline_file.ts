/**
 * Reads a pipeline file, or rejects it with all its problems and their positions, before anything runs.
 * Two passes over the same positions (the pipeline's schema, then each plugin's schema over its `with:`), then checks
 * across the parts: the graph, paths, environment variables.
 * @module
 */
import { existsSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { checkGraph, checkReward, type Finding, nameStages, type Placed } from "./stage_graph.ts";
import { checkPrices } from "./endpoint_prices.ts";
import { explain, jsonSchema } from "./issues.ts";
import { override } from "./overrides.ts";
import { declaredRole } from "./declared_role.ts";
import { asPart } from "../scenario/parts.ts";
import { overlappingSplits } from "../scenario/split_checks.ts";
import { missingSplits, previewScenarios, type Ready } from "../scenario/preview.ts";
import { pipeline_schema, type PipelineConfig } from "./pipeline_schema.ts";
import { readText } from "../common/read_text.ts";
import { config as say, type Diagnostic, HoneError, reasonOf, runner } from "../diagnostics/mod.ts";
import type { JsonObject, Scenario } from "../events.ts";
import { declaredServers } from "../mcp/declared/permitted.ts";
import { clientEntries, clientText, SERVERS_FIELDS, serversIn } from "../mcp/declared/client_file.ts";
import { ApprovedPlugins } from "./approved_plugins.ts";
import { programsOf } from "./programs.ts";
import type { DeclaredServer, Plugin, ScenarioPart } from "../plugin.ts";
import { TAPE_FILE } from "../tape/lines.ts";
import { textProblems } from "./pipeline_text.ts";
import { type GivenPaths, originOf, resolved, written } from "./resolved_yaml.ts";
import { type Path, Source, valueAt } from "./source.ts";
import { loadSuites } from "./suite_pipelines.ts";
import type { LoadedPipeline, LoadedStage, LoadOptions } from "./loaded_pipeline.ts";

export type { LoadedPipeline, LoadedStage, LoadOptions };
import { fillAddresses, isRelative, missingFiles, missingPaths, namedText, unsetNames } from "./world.ts";

/** Reads the pipeline at `path`; throws a HoneError with all diagnostics. */
export async function loadPipeline(path: string, options: LoadOptions): Promise<LoadedPipeline> {
  const text = await readText(path).catch((error) => {
    if (error.code === "EISDIR") {
      const inside = join(path, "pipeline.yaml");
      throw new HoneError(say.pipeline_is_folder(path, existsSync(inside) ? inside : undefined));
    }
    throw new HoneError(
      error.code === "ENOENT" ? say.file_not_found(path) : say.file_unreadable(path, reasonOf(error)),
    );
  });
  const { loaded, diagnostics, skipped } = await examinePipeline(text, path, options);
  if (loaded) return loaded;
  throw new HoneError(diagnostics.length > 0 ? diagnostics : say.not_approved(skipped));
}

/**
 * Checks the text of a pipeline; `file` is its path. `loaded` is set if there are no problems and no plugin was
 * `skipped`, which are those that were not approved.
 */
export async function examinePipeline(
  text: string,
  file: string,
  options: LoadOptions,
): Promise<{ loaded?: LoadedPipeline; diagnostics: Diagnostic[]; skipped: string[] }> {
  const origin = originOf(text, file) ?? file;
  const reading = new Reading(new Source(text, file), dirname(resolve(origin)), options);
  const read = await reading.read();
  const loaded = read && await reading.withSuites({
    ...read,
    path: resolve(file),
    resolved_yaml: reading.resolved(origin, read.config),
  });
  const files = [file, ...reading.diagnostics.map((diagnostic) => diagnostic.file)];
  const diagnostics = reading.diagnostics.toSorted((a, b) =>
    files.indexOf(a.file) - files.indexOf(b.file) || (a.line ?? 0) - (b.line ?? 0) || (a.col ?? 0) - (b.col ?? 0)
  );
  const skipped = [...reading.plugins.skipped];
  if (!loaded || diagnostics.length > 0) return { diagnostics, skipped };
  return { diagnostics, skipped, loaded };
}

/** A stage, as read from the file. */
interface ReadStage extends Placed {
  use: string;
  with: unknown;
  timeout_secs?: number;
  /** True if it has no problems. */
  sound: boolean;
}

/** The state of reading one file. */
class Reading {
  readonly diagnostics: Diagnostic[] = [];
  readonly plugins: ApprovedPlugins;
  readonly #env: Record<string, string>;
  readonly #world: boolean;
  #servers: Record<string, DeclaredServer> | undefined;
  /** The servers as declared in a separate file, if there is one. */
  #servers_raw: unknown;
  /** The scenarios of all sources, if they could be read. */
  #scenarios: Scenario[] | undefined;
  #parts: ScenarioPart[] = [];
  #hosted = false;
  /** Relative paths, as given. */
  #given: GivenPaths = {};

  constructor(readonly source: Source, readonly base_dir: string, readonly options: LoadOptions) {
    this.#env = options.env ?? Deno.env.toObject();
    this.#world = options.world ?? true;
    this.plugins = new ApprovedPlugins({ ...options, base_dir });
  }

  async read(): Promise<Omit<LoadedPipeline, "path" | "resolved_yaml"> | undefined> {
    const { source } = this;
    this.diagnostics.push(...textProblems(source));
    if (this.diagnostics.length > 0) return undefined;
    this.diagnostics.push(...override(source, this.options.overrides ?? {}));
    const written = source.value() as Record<string, unknown>;
    if (this.#world && this.#env.MCP_URL !== undefined) fillAddresses(source);
    if (this.#world) this.diagnostics.push(...source.interpolate(this.#env, (field) => this.#spared(field)));
    const value = source.value() as Record<string, unknown>;
    const servers_ok = await this.#readServers(value);
    const parsed = pipeline_schema.safeParse(value);
    if (!parsed.success) {
      const issues = parsed.error.issues.filter(({ path }) => servers_ok || path[0] !== "servers");
      this.diagnostics.push(...explain(issues, source, pipeline_schema));
    }
    if (parsed.success) this.#servers = declaredServers(parsed.data.servers, parsed.data.allow_writes);
    if (this.#world) {
      const inline = typeof valueAt(source.raw, ["servers"]) === "object";
      this.#report(...await missingFiles(value, inline, this.base_dir));
      this.#report(...unsetNames(value, this.#env, (field) => this.#spared(field)));
      const text = { servers: this.#servers_raw ?? written.servers, stages: value.stages };
      const programs = await programsOf(parsed.data, text, this.plugins.options);
      await this.plugins.begin(programs, parsed.success && this.diagnostics.length === 0);
    }
    const stages = await this.#readStages(value.stages);
    if (!parsed.success || !stages || this.diagnostics.length > 0 || this.plugins.skipped.size > 0) return undefined;
    const config = await this.#complete(parsed.data, stages);
    if (this.diagnostics.length > 0) return undefined;
    this.#checkSplits(config, stages);
    if (this.diagnostics.length === 0) await this.plugins.end();
    const read = { parts: this.#parts, scenarios: this.#scenarios, hosted: this.#hosted };
    return { base_dir: this.base_dir, text: source.text, config, stages, programs: this.plugins.programs, ...read };
  }

  /** The pipeline with its suites; their problems are reported. */
  async withSuites(loaded: LoadedPipeline): Promise<LoadedPipeline> {
    if (!this.#world || this.options.suite || loaded.config.tape.mode === "replay") return loaded;
    const { suites, problems } = await loadSuites(loaded, this.raw, this.options, examinePipeline);
    for (const { diagnostic, path } of problems) {
      if (path) this.#report({ diagnostic, path });
      else this.diagnostics.push(diagnostic);
    }
    const programs = [...loaded.programs, ...Object.values(suites).flatMap(({ programs }) => programs)];
    const own = new Map(programs.map((program) => [program.digest, program]));
    return { ...loaded, suites, programs: [...own.values()] };
  }

  /** The record of the pipeline for a run's folder. */
  resolved(origin: string, config: PipelineConfig): string {
    return resolved(origin, written(config, this.#given, this.#hosted), this.raw);
  }

  /** Values as written. */
  get raw(): unknown {
    return this.#servers_raw === undefined
      ? this.source.raw
      : { ...this.source.raw as JsonObject, servers: this.#servers_raw };
  }

  #report(...findings: Finding[]): void {
    this.diagnostics.push(...findings.map(({ diagnostic, path, side }) => this.source.at(diagnostic, path, side)));
  }

  /** True if the tape replaces every server and key. */
  get #replays(): boolean {
    const { doc } = this.source;
    return doc.get("tape") === "replay" ||
      doc.getIn(["tape", "mode"]) === "replay" && doc.getIn(["tape", "on_miss"]) !== "live";
  }

  /** True for fields that a replay does not read: their environment variables need not be set. */
  #spared(field: string): boolean {
    return this.#replays && /^(servers|agent\.endpoint|evaluate\.models)\./.test(field);
  }

  /** Inlines `servers: ./mcp.json`; false if that failed. */
  async #readServers(value: Record<string, unknown>): Promise<boolean> {
    if (typeof value.servers !== "string") return true;
    const path = value.servers;
    const text = this.#world ? await namedText(path, ["servers"], this.base_dir) : "";
    if (typeof text !== "string") {
      this.#report(text);
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
    const shown = file.has(SERVERS_FIELDS) ? problems : problems.map(({ frame: _, ...problem }) => problem);
    this.diagnostics.push(...shown);
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

  /** Loads every plugin, parses every `with:`, and checks the graph if all could be loaded. */
  async #readStages(stages: unknown): Promise<LoadedStage[] | undefined> {
    if (!Array.isArray(stages)) return undefined;
    const placed: ReadStage[] = [];
    for (const [index, stage] of stages.entries()) {
      const read = await this.#readStage(stage, index);
      if (read) placed.push(read);
    }
    const { ids, findings } = nameStages(placed);
    if (placed.length === stages.length) {
      findings.push(...checkGraph(this.source.value(), placed, Object.keys(this.options.builtins), this.options));
      findings.push(...checkReward(placed, ids), ...checkPrices(this.source.value(), placed));
    }
    this.#report(...findings);
    this.#hosted = placed.some(({ says }) => says.mode === "hosted");
    this.#parts = await this.#partsOf(placed);
    if (this.#world) {
      const ready = placed.map((stage, i) => ({ ...stage, id: ids[i]! })).filter(({ sound }) => sound);
      await this.#previewScenarios(ready, placed.length === ready.length && placed.length === stages.length);
    }
    return placed.map(({ use, plugin, with: settings, timeout_secs, says: { scale } }, i) => {
      return {
        id: ids[i]!,
        use,
        plugin,
        with: settings,
        ...(timeout_secs && { timeout_secs }),
        ...(scale && { scale }),
      };
    });
  }

  async #readStage(stage: unknown, index: number): Promise<ReadStage | undefined> {
    const use = valueAt(stage, ["use"]);
    const plugin = typeof use === "string" ? await this.#load(use, index) : undefined;
    if (typeof use !== "string" || !plugin) return undefined;
    const given = valueAt(stage, ["with"]) ?? {};
    const parsed = await plugin.config.safeParseAsync(given);
    const base = ["stages", index, "with"];
    const before = this.diagnostics.length;
    if (!parsed.success) this.diagnostics.push(...explain(parsed.error.issues, this.source, plugin.config, base));
    else if (this.#world) this.#report(...await missingPaths(jsonSchema(plugin.config), given, base, this.base_dir));
    const timeout_secs = valueAt(stage, ["timeout_secs"]);
    if (timeout_secs !== undefined && plugin.kind !== "judge") {
      this.#report({ diagnostic: say.timeout_of_judges(use, plugin.kind), path: ["stages", index, "timeout_secs"] });
    }
    const id = valueAt(stage, ["id"]);
    const sound = this.diagnostics.length === before;
    const named = typeof id === "string" ? id : undefined;
    const whom = { plugin, with: parsed.data, stage: named ?? plugin.name, base_dir: this.base_dir };
    const says = sound ? await declaredRole(whom) : {};
    const limit = typeof timeout_secs === "number" ? { timeout_secs } : {};
    return { index, id: named, plugin, use, with: parsed.data, sound, says, ...limit };
  }

  /** Parts that judges read: those of the pipeline's judges, and the built-in ones, whose fields are always allowed. */
  async #partsOf(stages: ReadStage[]): Promise<ScenarioPart[]> {
    const judges = stages.filter(({ plugin }) => plugin.kind === "judge");
    const parts = new Map<string, ScenarioPart>();
    for (const { plugin, says } of judges) {
      const decides = says.decisive === true || parts.get(plugin.name)?.decides === true;
      const part = asPart(plugin, decides);
      if (part) parts.set(plugin.name, part);
    }
    for (const [use, load] of Object.entries(this.options.builtins)) {
      if (!use.startsWith("judge/") || parts.has(use.slice("judge/".length))) continue;
      const part = asPart((await load()).default, false);
      if (part) parts.set(part.judge, { ...part, unread: true });
    }
    return [...parts.values()];
  }

  /** Problems of the sources' scenarios; the judges' parts are only checked if every judge could be loaded. */
  async #previewScenarios(ready: ReadStage[], whole: boolean): Promise<void> {
    const deciding = ready.filter(({ plugin, says }) => plugin.kind === "judge" && says.decisive);
    const must_have_part = whole && deciding.length > 0 &&
      deciding.every(({ plugin: { expects } }) => expects && !expects.optional);
    const args = { base_dir: this.base_dir, parts: this.#parts, must_have_part, servers: this.#servers };
    const { problems, scenarios } = await previewScenarios(ready as Ready[], args);
    for (const { index, diagnostic } of problems) {
      if (diagnostic.file === undefined) this.#report({ diagnostic, path: ["stages", index, "use"] });
      else this.diagnostics.push(diagnostic);
    }
    this.#scenarios = scenarios;
  }

  #checkSplits(config: PipelineConfig, stages: LoadedStage[]): void {
    if (!this.#scenarios) return;
    const { trains = true } = this.options;
    if (trains && this.#hosted && !this.#scenarios.some(({ split }) => split === "train")) {
      this.#report({ diagnostic: runner.no_scenarios("train", "train"), path: ["stages"], side: "key" });
    }
    const source = stages.findIndex(({ plugin }) => plugin.kind === "scenario-source");
    for (const diagnostic of missingSplits(trains ? config : { ...config, ladder: [] }, this.#scenarios)) {
      this.#report({ diagnostic, path: ["stages", source] });
    }
    if (!trains) return;
    for (const diagnostic of overlappingSplits(config, this.#hosted, this.#scenarios)) {
      this.#report({ diagnostic, path: ["stages", source] });
    }
  }

  async #load(use: string, index: number): Promise<Plugin | undefined> {
    const { builtins } = this.options;
    if (!this.#world && !Object.hasOwn(builtins, use) && !/^[a-z-]+\/[\w-]+$/.test(use)) return undefined;
    try {
      return await this.plugins.load(use);
    } catch (error) {
      if (!(error instanceof HoneError)) throw error;
      for (const diagnostic of error.diagnostics) this.#report({ diagnostic, path: ["stages", index, "use"] });
      return undefined;
    }
  }

  /**
   * Fills in values that depend on other parts: the prompt's text, the model's folder, the ladder without a trainer.
   */
  async #complete(config: PipelineConfig, stages: LoadedStage[]): Promise<PipelineConfig> {
    await this.#readPrompt(config.agent, ["agent", "system_prompt"]);
    for (const [name, model] of Object.entries(config.evaluate.models)) {
      await this.#readPrompt(model, ["evaluate", "models", name, "system_prompt"]);
    }
    if (isRelative(config.model)) {
      this.#given.model = config.model;
      config.model = resolve(this.base_dir, config.model);
    }
    const { tape } = config;
    if (tape.mode === "replay") tape.path ??= relative(this.base_dir, resolve(dirname(this.source.file), TAPE_FILE));
    if (tape.path !== undefined) {
      this.#given.tape_path = tape.path;
      tape.path = resolve(this.base_dir, tape.path);
    }
    if (this.#hosted || !stages.some(({ plugin }) => plugin.kind === "trainer")) {
      config.ladder = config.ladder.filter((rung) => rung === "prompt");
    }
    config.evaluate.policies = this.#policies(config);
    config.stages = stages.map(({ plugin: _, scale: __, with: parsed, ...stage }) => {
      return { ...stage, with: parsed as Record<string, unknown> };
    });
    return config;
  }

  /** The policies that the ladder makes, of those to compare, and all models. */
  #policies({ ladder, evaluate: { policies, models } }: PipelineConfig): string[] {
    if (this.options.trains === false) return policies;
    const tunes = this.#hosted || ladder.some((rung) => rung !== "prompt");
    const reachable = ["base", "nothing", "reference", ...ladder, ...(tunes ? ["tuned"] : [])];
    const further = Object.keys(models);
    return [
      ...policies.filter((policy) => reachable.includes(policy) || further.includes(policy)),
      ...further.filter((name) => !policies.includes(name)),
    ];
  }

  /** Replaces the path of a system prompt by the file's text. */
  async #readPrompt(of: { system_prompt?: string }, path: Path): Promise<void> {
    if (!this.#world || !isRelative(of.system_prompt)) return;
    const text = await namedText(of.system_prompt, path, this.base_dir);
    if (typeof text === "string") of.system_prompt = text.trimEnd();
    else this.#report(text);
  }
}

/** Issues of `servers` as issues of a file whose servers are at `at`. */
function prefixed<T extends { path: PropertyKey[] }>(issues: T[], at: string[]): T[] {
  return issues.map((issue) => ({ ...issue, path: [...at, ...issue.path] }));
}
