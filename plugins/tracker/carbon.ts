/**
 * Measures the energy that this machine uses while the run lasts, and the emissions of generating it, with CodeCarbon's
 * offline tracker: after each training step, evaluation and verdict, and at the end. The totals are metrics of the run, so
 * that other trackers show them too; those of a resumed run include its earlier starts.
 * @module
 */
import { definePlugin, type Plugin, type TrackedRun } from "@hone/hone";
import { resolve } from "node:path";
import { z } from "zod";
import { delivering, type Ending } from "./delivery.ts";
import type { Figures } from "./figures.ts";
import { PythonTracker } from "./python_tracker.ts";
import { python } from "./python_setting.ts";

const config = z.strictObject({
  country_iso_code: z.string().regex(/^[A-Z]{3}$/, "must be three capital letters, such as DEU").describe(
    "Country whose electricity the machine uses (ISO 3166-1 alpha-3).",
  ).meta({ examples: ["DEU"] }),
  region: z.string().min(1).optional().describe("State or province, of the USA and Canada.").meta({
    examples: ["california"],
  }),
  project_name: z.string().min(1).optional().describe("Project in CodeCarbon's file. Default: the pipeline's name.")
    .meta({
      examples: ["files"],
    }),
  output_dir: z.string().min(1).optional().describe(
    "Folder for emissions.csv, relative to the pipeline's. Default: the run's folder.",
  ).meta({ examples: ["./emissions"] }),
  measure_secs: z.number().positive().default(15).describe("Seconds between measurements of power."),
  python,
});

const plugin: Plugin<"tracker"> = definePlugin({
  kind: "tracker",
  name: "carbon",
  summary: "Measures energy (kWh) and emissions (kg CO₂-equivalent) of this machine with CodeCarbon, offline.",
  config,
  starts: "its Python program, hone_worker.tracking",
  examples: [{ title: "In Germany", with: { country_iso_code: "DEU" } }],
  create: ({ config, log, stage, base_dir }) =>
    delivering(
      { log, stage },
      new Carbon({
        tracker: "carbon",
        title: "CodeCarbon",
        options: ({ dir, name }) => ({
          project_name: config.project_name ?? name,
          country_iso_code: config.country_iso_code,
          region: config.region ?? null,
          output_dir: config.output_dir === undefined ? dir : resolve(base_dir, config.output_dir),
          measure_secs: config.measure_secs,
        }),
        python: config.python,
        log,
      }),
    ),
});
export default plugin;

const PREFIX = "carbon/";

class Carbon extends PythonTracker {
  /** Totals of earlier starts. */
  readonly #before = new Map<string, number>();
  #run!: TrackedRun;
  #step = 0;

  override async open(run: TrackedRun, recorded: Figures[], signal: AbortSignal): Promise<void> {
    this.#run = run;
    for (const { values } of recorded) {
      for (const [name, value] of Object.entries(values)) if (name.startsWith(PREFIX)) this.#before.set(name, value);
    }
    await super.open(run, [], signal);
  }

  override async write(rows: Figures[], signal: AbortSignal): Promise<void> {
    // Those of another one like it would be answered for ever.
    const news = rows.filter(({ values }) => !Object.keys(values).some((name) => name.startsWith(PREFIX))).at(-1);
    if (!news) return;
    this.#step = news.step;
    await this.#measure(signal);
  }

  override async end(ending: Ending, signal: AbortSignal): Promise<void> {
    await this.#measure(signal);
    await super.end(ending, signal);
  }

  async #measure(signal: AbortSignal): Promise<void> {
    const { values } = await this.call("measure", {}, signal) as { values: Record<string, number> };
    for (const [key, value] of Object.entries(values)) {
      const name = `${PREFIX}${key}`;
      this.#run.record({ name, value: value + (this.#before.get(name) ?? 0), step: this.#step });
    }
  }
}
