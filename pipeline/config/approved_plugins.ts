/**
 * The plugins of one pipeline, each loaded once it is approved. Approval is asked for before the first of them is
 * loaded or, if all are built in, when the file has no problems.
 * @module
 */
import { config as say, HoneError } from "../diagnostics/mod.ts";
import { type Builtins, loadPlugin } from "../loader.ts";
import type { Plugin } from "../plugin.ts";
import { pluginProgram, type Program } from "./programs.ts";

/**
 * Called with all that a pipeline starts or loads; returns what is approved. Plugins that are not are left out. May
 * throw, to read no further.
 */
export type Approve = (programs: Program[], file: AboutFile) => Promise<Program[]>;

/** Where the programs come from. */
export interface AboutFile {
  /** False if the text has problems, so that nothing will run. */
  sound: boolean;
  /** Folder that paths are relative to. */
  base_dir: string;
}

/** Where plugins are loaded from, and who approves them; without `approve` everything is approved. */
interface LoadingOptions {
  base_dir: string;
  builtins: Builtins;
  signal?: AbortSignal;
  approve?: Approve;
}

/** Loads plugins by their `use:`. */
export class ApprovedPlugins {
  /** `use:` of those that were left out. */
  readonly skipped = new Set<string>();
  /** What the pipeline starts or loads. */
  programs: Program[] = [];
  #approved: Program[] = [];

  constructor(readonly options: LoadingOptions) {}

  /** The text has been read: asks if a plugin is to be loaded. */
  async begin(programs: Program[], sound: boolean): Promise<void> {
    this.programs = programs;
    if (this.#has_plugins) await this.#ask(sound);
  }

  /** The file has no problems: asks if that has not been done yet. */
  async end(): Promise<void> {
    if (!this.#has_plugins) await this.#ask(true);
  }

  /** The plugin, or undefined if it is not approved. Throws HoneError. */
  async load(use: string): Promise<Plugin | undefined> {
    if (!this.options.approve) return await loadPlugin(use, this.options);
    const program = this.programs.find(({ plugin }) => plugin === use);
    if (program && !this.#approved.includes(program)) {
      this.skipped.add(use);
      return undefined;
    }
    // It may have been changed while somebody made up their mind.
    const now = await pluginProgram(use, this.options.base_dir);
    if (program?.digest !== now?.digest) throw new HoneError(say.plugin_changed(use));
    return await loadPlugin(use, this.options);
  }

  get #has_plugins(): boolean {
    return this.programs.some(({ plugin }) => plugin !== undefined);
  }

  async #ask(sound: boolean): Promise<void> {
    const { approve } = this.options;
    if (!approve || this.programs.length === 0) return;
    this.#approved = await approve(this.programs, { sound, base_dir: this.options.base_dir });
  }
}
