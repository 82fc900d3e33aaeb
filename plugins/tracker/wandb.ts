/**
 * Records the figures of a run with Weights & Biases, offline unless `mode: online` is set. Every start of the run writes a
 * folder with all that is recorded; online, W&B continues the run of the same id and ignores what it has.
 * @module
 */
import { definePlugin, type Plugin } from "@hone/hone";
import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { z } from "zod";
import { delivering } from "./delivery.ts";
import { PythonTracker } from "./python_tracker.ts";
import { python } from "./python_setting.ts";

const text = (what: string, example: string) =>
  z.string().min(1).optional().describe(what).meta({ examples: [example] });

const config = z.strictObject({
  mode: z.enum(["offline", "online"]).default("offline").describe(
    "`offline` writes a folder, which `wandb sync` uploads; `online` sends everything to W&B, and needs WANDB_API_KEY in the environment.",
  ),
  project: z.string().min(1).default("hone").describe("Project that the run is added to."),
  entity: text("User or team that owns the project. Default: the key's.", "my-team"),
  name: text("Name of the run there. Default: the run's id.", "files, seed 7"),
  group: text("Group that the run belongs to.", "files"),
  tags: z.array(z.string().min(1)).default([]).describe("Tags of the run."),
  dir: text("Folder for W&B's files, relative to the pipeline's. Default: the run's folder.", "./tracking"),
  python,
});

const plugin: Plugin<"tracker"> = definePlugin({
  kind: "tracker",
  name: "wandb",
  summary: "Records the figures of training steps and evaluations, the settings and the verdict with Weights & Biases.",
  config,
  starts: "its Python program, hone_worker.tracking",
  examples: [
    { title: "Offline, in the run's folder", with: { project: "files" } },
    { title: "Online", with: { project: "files", mode: "online", tags: ["seed-7"] } },
  ],
  create: ({ config: { dir, python, name, entity, group, ...rest }, log, stage, base_dir }) =>
    delivering(
      { log, stage },
      new PythonTracker({
        tracker: "wandb",
        title: "Weights & Biases",
        options: (run) => {
          const folder = dir === undefined ? run.dir : resolve(base_dir, dir);
          // In a folder that does not exist it would write somewhere else.
          mkdirSync(folder, { recursive: true });
          // A run's id is the name of its folder; W&B's are simpler.
          const id = run.run_id.replace(/[^A-Za-z0-9_-]/g, "-").slice(0, 64);
          const named = { name: name ?? run.run_id, entity: entity ?? null, group: group ?? null };
          return { ...rest, ...named, id, dir: folder, config: run.settings };
        },
        python,
        log,
      }),
    ),
});
export default plugin;
