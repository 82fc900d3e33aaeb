/** The types of reading a pipeline file: what it takes, and what it returns. @module */
import type { Json, Scenario } from "../events.ts";
import type { Builtins } from "../loader.ts";
import type { Plugin, ScenarioPart } from "../plugin.ts";
import type { Approve } from "./approved_plugins.ts";
import type { DeclaredRole } from "./declared_role.ts";
import type { PipelineConfig } from "./pipeline_schema.ts";
import type { Program } from "./programs.ts";

/** A stage, ready to be created. */
export interface LoadedStage {
  id: string;
  use: string;
  plugin: Plugin;
  /** The stage's `with:`, parsed with the plugin's schema. */
  with: unknown;
  timeout_secs?: number;
  /** For a judge. */
  scale?: DeclaredRole["scale"];
}

/** A valid pipeline. */
export interface LoadedPipeline {
  /** Absolute path of the file. */
  path: string;
  /** Absolute folder that relative paths are resolved against. */
  base_dir: string;
  text: string;
  config: PipelineConfig;
  stages: LoadedStage[];
  /** Parts of scenarios that judges read: those of the pipeline's judges, and the built-in ones. */
  parts: ScenarioPart[];
  /** Its scenarios; undefined if they are known only during the run, or were not looked up. */
  scenarios: Scenario[] | undefined;
  /** Whether its trainer is hosted. */
  hosted: boolean;
  /** What it starts or loads on this machine; empty if that was not looked up. */
  programs: Program[];
  /** The suites of `evaluate.suites`, as pipelines of their own; empty for a replay, which has no tape of theirs. */
  suites?: Record<string, LoadedPipeline>;
  /** The file with all defaults, for the run's folder; `${NAME}` is kept unexpanded. Loads like the original. */
  resolved_yaml: string;
}

/** Options for reading a pipeline. */
export interface LoadOptions {
  /** The table of `plugins/mod.ts`. */
  builtins: Builtins;
  /** Environment variables. Default: those of the process. */
  env?: Record<string, string>;
  /** Overrides by dotted path: `train.steps`, `stages.file.with.path`; see `override`. */
  overrides?: Record<string, Json>;
  /** False to skip what depends on this machine: environment, paths and plugins by path. */
  world?: boolean;
  /** Approves what the pipeline starts or loads, before a plugin that is not built in is loaded. Default: all of it. */
  approve?: Approve;
  /** False if nothing will be trained, whatever the ladder: training scenarios are not required. */
  trains?: boolean;
  /** True for the pipeline of a suite, which is given a model or an endpoint. */
  suite?: boolean;
  signal?: AbortSignal;
}
