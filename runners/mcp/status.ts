/** Status of a run, for polling: progress while it is live, then its verdict or failure. @module */
import { basename, join } from "node:path";
import { objectIn } from "../../pipeline/common/json.ts";
import { readText } from "../../pipeline/common/read_text.ts";
import { openRun } from "../../pipeline/store/live_run.ts";

/** Files of a run that clients may read. */
export const FILES = ["verdict.json", "report.md", "pipeline.yaml", "run.log"];

/** Of one of these files. */
export const MAX_FILE_BYTES = 256_000_000;

/** A run's status as plain JSON. */
export async function statusOf(run_dir: string): Promise<Record<string, unknown>> {
  await using run = await openRun(run_dir);
  const [facts = {}] = await run.query("SELECT status, sentence FROM runs");
  const head = { run: basename(run_dir), run_dir };
  if (run.live) return { ...head, status: "running", progress: await run.status() };
  const status = facts.status === "running" ? "interrupted" : facts.status;
  const verdict = await readText(join(run_dir, "verdict.json")).then(objectIn, () => undefined);
  const difference = verdict && { sentence: verdict.sentence, difference: verdict.difference };
  const failure = status === "failed" && await lastWords(run_dir);
  return { ...head, status, ...(difference && { verdict: difference }), ...(failure && { failure }) };
}

/** The end of a failed run's log. */
async function lastWords(run_dir: string): Promise<string> {
  const text = await readText(join(run_dir, "run.log"), MAX_FILE_BYTES).catch(() => "");
  return text.trimEnd().split("\n").slice(-5).join("\n");
}
