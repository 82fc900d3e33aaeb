/** Messages of trackers. None of them ends a run: what a tracker lacks is in the run's own records. @module */
import { messageOf, quote, say } from "./diagnostic.ts";
import { reasonOf } from "./thrown.ts";

const RECORDED = "The run goes on; all figures are in its run.duckdb";

/** Messages of trackers. */
export const trackers = {
  not_written: (path: string, error: unknown) =>
    say(
      "TRACKER_NOT_WRITTEN",
      `Cannot write the metrics to ${quote(path)}: ${reasonOf(error)}`,
      `${RECORDED}; \`hone resume\` completes the file.`,
    ),
  not_ours: (path: string) =>
    say(
      "TRACKER_NOT_WRITTEN",
      `Cannot write the metrics to ${quote(path)}: the file has other columns than hone's`,
      `${RECORDED}; name another file in \`path\`.`,
    ),
  unreachable: (address: string, reason: string) =>
    say(
      "TRACKER_UNREACHABLE",
      `Cannot reach the MLflow server at ${quote(address)}: ${reason}`,
      `Start it, or correct \`tracking_uri\`. hone keeps trying until the run ends. ${RECORDED}.`,
    ),
  refused: (address: string, reason: string) =>
    say(
      "TRACKER_REFUSED",
      `The MLflow server at ${quote(address)} refuses what hone sends: ${reason}`,
      `${RECORDED}; \`hone resume\` sends what is missing.`,
    ),
  not_signed_in: (address: string, status: number) =>
    say(
      "TRACKER_REFUSED",
      `The MLflow server at ${quote(address)} asks for a login (HTTP ${status})`,
      `Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. ${RECORDED}.`,
    ),
  no_mlflow: (address: string, reason: string) =>
    say(
      "TRACKER_REFUSED",
      `There is no MLflow server at ${quote(address)}: ${reason}`,
      `Correct \`tracking_uri\`. ${RECORDED}.`,
    ),
  experiment_deleted: (name: string) =>
    say(
      "TRACKER_REFUSED",
      `The MLflow experiment ${quote(name)} has been deleted`,
      `Restore it, or choose another \`experiment_name\`. ${RECORDED}.`,
    ),
  program_failed: (what: string, reason: string, hint?: string) =>
    say(
      "TRACKER_FAILED",
      `${what} records nothing more: ${reason.replace(/\.$/, "")}`,
      hint ? `${hint} ${RECORDED}.` : `${RECORDED}.`,
    ),
  late: (secs: number) =>
    say("TRACKER_LATE", `A tracker did not take the last figures within ${secs} s`, `${RECORDED}.`),
  broken: (error: unknown) => say("TRACKER_FAILED", `A tracker failed: ${messageOf(error)}`, `${RECORDED}.`),
  undelivered: (events: number) => say("TRACKER_UNDELIVERED", `the figures of ${events} events were not delivered`),
};
