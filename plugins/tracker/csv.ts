/**
 * Appends the figures of a run to a CSV file: a row for each figure. A resumed run first makes the file's rows those of
 * its records: none is missing, none is there twice. Rows of other runs in the file stay as they are.
 * @module
 */
import {
  definePlugin,
  HoneError,
  type Plugin,
  readText,
  type TrackedRun,
  trackers as messages,
  writeAside,
} from "@hone/hone";
import { appendFile, mkdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { z } from "zod";
import { delivering, type Destination } from "./delivery.ts";
import type { Figures } from "./figures.ts";

const config = z.strictObject({
  path: z.string().min(1).optional().describe(
    "The file, relative to the pipeline's folder; several runs may share it. Default: `metrics.csv` in the run's folder.",
  ).meta({ examples: ["./metrics.csv"] }),
});

const plugin: Plugin<"tracker"> = definePlugin({
  kind: "tracker",
  name: "csv",
  summary:
    "Writes the figures of training steps (`rl/loss`, …) and evaluations (`evaluation/heldout/tuned/greedy/success`, …) to a " +
    "CSV file: run_id, recorded_at, step, name, value.",
  config,
  examples: [
    { title: "metrics.csv in the run's folder", with: {} },
    { title: "One file for several runs", with: { path: "./metrics.csv" } },
  ],
  create: ({ config: { path }, log, stage, base_dir }) => {
    const file = path === undefined ? undefined : resolve(base_dir, path);
    return delivering({ log, stage }, new CsvFile(file));
  },
});
export default plugin;

const HEADER = "run_id,recorded_at,step,name,value";
/** A file that several runs share may grow. */
const MAX_BYTES = 1_000_000_000;

class CsvFile implements Destination {
  #path = "";
  #run = "";

  constructor(private readonly given?: string) {}

  async open({ run_id, dir }: TrackedRun, recorded: Figures[]): Promise<void> {
    this.#path = this.given ?? join(dir, "metrics.csv");
    this.#run = cell(run_id);
    await this.#writing(async () => {
      await mkdir(dirname(this.#path), { recursive: true });
      const text = await readText(this.#path, MAX_BYTES).catch(ifMissing);
      const lines = text.split("\n").filter((line) => line !== "");
      if (lines.length > 0 && lines[0] !== HEADER) throw new HoneError(messages.not_ours(this.#path));
      const others = lines.slice(1).filter((line) => !line.startsWith(`${this.#run},`));
      const wanted = [HEADER, ...others, ...recorded.flatMap((figures) => this.#rows(figures)), ""].join("\n");
      if (text !== wanted) await writeAside(this.#path, wanted);
    });
  }

  async write(rows: Figures[]): Promise<void> {
    const text = rows.flatMap((figures) => this.#rows(figures)).map((line) => `${line}\n`).join("");
    await this.#writing(() => appendFile(this.#path, text));
  }

  end(): Promise<void> {
    return Promise.resolve();
  }

  #rows({ at, step, values }: Figures): string[] {
    const time = new Date(at).toISOString();
    return Object.entries(values).map(([name, value]) => `${this.#run},${time},${step},${name},${value}`);
  }

  async #writing(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      throw error instanceof HoneError ? error : new HoneError(messages.not_written(this.#path, error));
    }
  }
}

/** The id of a run is the name of its folder. */
function cell(text: string): string {
  const line = text.replace(/[\r\n]/g, " ");
  return /[",]/.test(line) ? `"${line.replaceAll('"', '""')}"` : line;
}

function ifMissing(error: unknown): string {
  if ((error as { code?: string }).code === "ENOENT") return "";
  throw error;
}
