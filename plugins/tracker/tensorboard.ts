/**
 * Writes TensorBoard event files with TensorBoard's own writer. A resumed run starts a file that replaces what readers know
 * of the folder, and begins with what is recorded.
 * @module
 */
import { definePlugin, type Plugin } from "@hone/hone";
import { join, resolve } from "node:path";
import { z } from "zod";
import { delivering } from "./delivery.ts";
import { PythonTracker } from "./python_tracker.ts";
import { python } from "./python_setting.ts";

const config = z.strictObject({
  log_dir: z.string().min(1).optional().describe(
    "Folder of several runs, relative to the pipeline's; each run has a folder in it. Default: `tensorboard` in the run's folder.",
  ).meta({ examples: ["./tensorboard"] }),
  python,
});

const plugin: Plugin<"tracker"> = definePlugin({
  kind: "tracker",
  name: "tensorboard",
  summary:
    "Writes the figures of training steps and evaluations, the settings and the verdict to TensorBoard event files.",
  config,
  starts: "its Python program, hone_worker.tracking",
  examples: [
    { title: "In the run's folder", with: {} },
    { title: "Runs side by side: `tensorboard --logdir tensorboard`", with: { log_dir: "./tensorboard" } },
  ],
  create: ({ config, log, stage, base_dir }) =>
    delivering(
      { log, stage },
      new PythonTracker({
        tracker: "tensorboard",
        title: "TensorBoard",
        options: ({ dir, run_id, settings, recorded }) => ({
          log_dir: config.log_dir === undefined
            ? join(dir, "tensorboard")
            : join(resolve(base_dir, config.log_dir), run_id),
          settings,
          restart: recorded.length > 0,
        }),
        python: config.python,
        log,
      }),
    ),
});
export default plugin;
