/**
 * The suites of a pipeline (`evaluate.suites`): further scenarios for the same policies, each as a pipeline of its own.
 * A file of scenarios is given to the stages of the pipeline; another pipeline file brings its own servers, stages and
 * agent, and is given the model, the endpoints and the trainer of the pipeline.
 * @module
 */
import { basename, isAbsolute, join, resolve } from "node:path";
import { parseDocument, stringify } from "yaml";
import { config as say, type Diagnostic, HoneError } from "../diagnostics/mod.ts";
import { namedText } from "./world.ts";
import type { LoadedPipeline, LoadOptions } from "./loaded_pipeline.ts";
import { type Path, Source, valueAt } from "./source.ts";

/** Reads the pipeline of a suite. */
type Examine = (
  text: string,
  file: string,
  options: LoadOptions,
) => Promise<{ loaded?: LoadedPipeline; diagnostics: Diagnostic[] }>;

/** Problems of suites: those of other files with their places, others at the suite's entry. */
export interface SuiteProblem {
  diagnostic: Diagnostic;
  /** Undefined if the diagnostic has the place. */
  path?: Path;
}

/** The suites by name, as far as they have no problems. `raw` is the pipeline as written. */
export async function loadSuites(
  loaded: LoadedPipeline,
  raw: unknown,
  options: LoadOptions,
  examine: Examine,
): Promise<{ suites: Record<string, LoadedPipeline>; problems: SuiteProblem[] }> {
  const suites: Record<string, LoadedPipeline> = {};
  const problems: SuiteProblem[] = [];
  // Beside the pipeline's own file, from which its paths are resolved: it may have been read from a run's folder.
  const made = join(loaded.base_dir, basename(loaded.path));
  for (const [name, suite] of Object.entries(loaded.config.evaluate.suites)) {
    const { path: named, servers } = typeof suite === "string" ? { path: suite, servers: undefined } : suite;
    const place: Path = ["evaluate", "suites", name, ...(typeof suite === "string" ? [] : ["path"])];
    const text = await namedText(named, place, loaded.base_dir);
    if (typeof text !== "string") {
      problems.push(text);
      continue;
    }
    const file = resolve(loaded.base_dir, named);
    const whole = /\.ya?ml$/i.test(file) && new Source(text, file).has(["stages"]);
    if (whole && servers) {
      problems.push({ diagnostic: say.suite_servers(name), path: ["evaluate", "suites", name, "servers"] });
      continue;
    }
    const own: LoadOptions = { ...options, overrides: {}, trains: false, suite: true };
    try {
      const examined = whole
        ? await examine(text, file, own)
        : await examine(ofScenarios(loaded, raw, { name, file, servers }), made, own);
      if (examined.loaded) suites[name] = whole ? given(examined.loaded, loaded, name) : examined.loaded;
      else problems.push(...placed(examined.diagnostics, whole ? undefined : made, place));
    } catch (error) {
      if (!(error instanceof HoneError)) throw error;
      problems.push(...placed(error.diagnostics, made, place));
    }
  }
  return { suites, problems };
}

/** Positions in a text that nobody wrote are of no use: the suite's entry has the problem. */
function placed(diagnostics: Diagnostic[], made: string | undefined, path: Path): SuiteProblem[] {
  return diagnostics.map((diagnostic) => {
    if (diagnostic.file !== undefined && resolve(diagnostic.file) !== made) return { diagnostic };
    const { code, message, hint } = diagnostic;
    return { diagnostic: { code, message, hint }, path };
  });
}

/** The text of the pipeline with these scenarios instead of its own, on the split `heldout`. */
function ofScenarios(
  { config, stages, hosted }: LoadedPipeline,
  raw: unknown,
  { name, file, servers }: { name: string; file: string; servers: unknown },
): string {
  const whole = structuredClone(raw) as Record<string, unknown>;
  const written = valueAt(raw, ["stages"]) as unknown[];
  const tools = servers === undefined || Object.keys(servers as object).length > 0;
  const kept = stages.flatMap(({ plugin: { kind } }, i) => {
    if (kind === "exporter" || kind === "tracker" || kind === "scenario-source") return [];
    return kind === "discoverer" && !tools ? [] : [written[i]];
  });
  const source = { use: "scenario-source/file", with: { path: file, split: "heldout" } };
  const { policies: _, suites: __, ...evaluate } = (whole.evaluate ?? {}) as Record<string, unknown>;
  Object.assign(whole, {
    name,
    stages: [...kept.slice(0, 1), source, ...kept.slice(1)],
    ladder: [],
    evaluate: { ...evaluate, split: "heldout" },
    tape: tapeOf(config.tape.mode),
    ...(servers !== undefined && { servers }),
  });
  // A hosted trainer allows none.
  if (hosted) delete whole.ladder;
  return stringify(whole, { lineWidth: 0 });
}

/** A suite has a tape of its own, in its folder; a replay has none for it. */
function tapeOf(mode: LoadedPipeline["config"]["tape"]["mode"]): "record" | "live" {
  return mode === "record" ? "record" : "live";
}

/** A suite's own pipeline with the model, the endpoints and the trainer of the pipeline. */
function given(suite: LoadedPipeline, main: LoadedPipeline, name: string): LoadedPipeline {
  const trainer = main.stages.findIndex(({ plugin }) => plugin.kind === "trainer");
  const kept = suite.stages.flatMap(({ plugin: { kind } }, i) =>
    kind === "exporter" || kind === "tracker" || kind === "trainer" ? [] : [i]
  );
  const { agent, evaluate, tape, model, seed, limits } = main.config;
  const config = {
    ...suite.config,
    name,
    seed,
    limits,
    model,
    ladder: [],
    agent: {
      ...suite.config.agent,
      endpoint: agent.endpoint,
      tool_format: agent.tool_format,
      examples: agent.examples,
      temperature: agent.temperature,
    },
    evaluate: { ...suite.config.evaluate, policies: evaluate.policies, models: evaluate.models, suites: {} },
    tape: { mode: tapeOf(tape.mode), on_miss: tape.on_miss },
  };
  return {
    ...suite,
    config,
    stages: [...kept.map((i) => suite.stages[i]!), ...(trainer >= 0 ? [main.stages[trainer]!] : [])],
    hosted: main.hosted,
    resolved_yaml: recorded(suite, main, { name, kept, trainer }),
  };
}

/** The record of such a pipeline, made of the records of both, in which `${NAME}` is unexpanded. */
function recorded(
  suite: LoadedPipeline,
  main: LoadedPipeline,
  { name, kept, trainer }: { name: string; kept: number[]; trainer: number },
): string {
  const [doc, other] = [parseDocument(suite.resolved_yaml), parseDocument(main.resolved_yaml)];
  const [own, its] = [doc.toJS(), other.toJS()];
  const stages = kept.map((i) => own.stages[i]);
  if (trainer >= 0) stages.push({ ...its.stages[trainer], use: useFrom(its.stages[trainer].use, main.base_dir) });
  const { endpoint, tool_format, examples, temperature } = its.agent;
  const values: [Path, unknown][] = [
    [["name"], name],
    [["seed"], its.seed],
    [["limits"], its.limits],
    [["model"], main.config.model],
    [["ladder"], main.hosted ? undefined : []],
    [["stages"], stages],
    [["agent"], { ...own.agent, endpoint, tool_format, examples, temperature }],
    [["evaluate"], { ...own.evaluate, policies: its.evaluate.policies, models: its.evaluate.models, suites: {} }],
    [["tape"], tapeOf(main.config.tape.mode)],
  ];
  for (const [path, value] of values) {
    if (value === undefined) doc.deleteIn(path);
    else doc.setIn(path, doc.createNode(value));
  }
  return doc.toString({ lineWidth: 0 });
}

/** A plugin's `use:` as another folder names it. */
function useFrom(use: string, base_dir: string): string {
  return /^\.{1,2}[\\/]/.test(use) && !isAbsolute(use) ? resolve(base_dir, use) : use;
}
