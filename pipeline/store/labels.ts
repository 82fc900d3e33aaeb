/**
 * People's labels of a run's rollouts: the file that the report saves, and how labels get into the run's records, while
 * it is live (through its process) and afterwards.
 * @module
 */
import { basename, join } from "node:path";
import { z } from "zod";
import { Bus } from "../bus.ts";
import { HoneError, labels as messages } from "../diagnostics/mod.ts";
import type { Label } from "../events.ts";
import { lockRun, openRun } from "./live_run.ts";
import { DATABASE } from "./run_folder.ts";
import { Store } from "./store.ts";

/** One label in a file. */
export const label_schema: z.ZodType<Label> = z.strictObject({
  rollout_id: z.string().min(1).describe("The rollout."),
  score: z.number().min(0).max(1).describe("From 0 to 1: 1 for a thumb up, 0 for a thumb down."),
  reason: z.string().max(10_000).default("").describe("Why."),
  labelled_by: z.string().min(1).max(200).optional().describe("Who said so."),
});

/** A file of labels: a list, or what the report saves. */
const file_schema = z.union([
  z.array(label_schema).transform((labels) => ({ labels, run_id: undefined })),
  z.object({ run_id: z.string().optional(), labels: z.array(label_schema) }),
]);

/** The labels in a file; throws a HoneError with all its problems, or if they are of another run. */
export function labelsIn(text: string, path: string, run_id: string): Label[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new HoneError(messages.bad_file(path, ["it is not JSON"]));
  }
  const { success, data, error } = (Array.isArray(value) ? file_schema.options[0] : file_schema.options[1])
    .safeParse(value);
  if (!success) {
    throw new HoneError(
      messages.bad_file(path, error.issues.map(({ path, message }) => `${path.join(".") || "it"}: ${message}`)),
    );
  }
  if (data.run_id !== undefined && data.run_id !== run_id) {
    throw new HoneError(messages.of_other_run(path, data.run_id, run_id));
  }
  return data.labels;
}

/**
 * Records labels; resolves when they are on disk. All of them or, if a rollout is not the run's, none: throws a
 * HoneError then, and where the file cannot be written.
 */
export async function recordLabels(run_dir: string, labels: Label[]): Promise<void> {
  {
    await using run = await openRun(run_dir);
    const known = await run.query("SELECT rollout_id FROM rollout_requests");
    const ids = new Set(known.map(({ rollout_id }) => String(rollout_id)));
    const unknown = labels.map(({ rollout_id }) => rollout_id).filter((id) => !ids.has(id));
    if (unknown.length > 0) throw new HoneError(messages.unknown_rollouts(run_dir, [...new Set(unknown)]));
    if (run.live) return await run.label(labels);
  }
  await using _lock = await lockRun(run_dir);
  await using store = await Store.open(join(run_dir, DATABASE), { run_id: basename(run_dir), mode: "resume" });
  const bus = new Bus(store.run_id, store, { first_seq: store.next_seq });
  await Promise.all(labels.map((label) => bus.publish("label", "label.given", label)));
}
