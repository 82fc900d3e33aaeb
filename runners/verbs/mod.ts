/**
 * The table of verbs: what `hone --help` lists, and where each is. Summaries stand here so that help reads one small
 * file; a test holds them equal to the verbs' own.
 * @module
 */
import type { Verb } from "./verb.ts";

/** A verb as help lists it. */
export interface Entry {
  name: string;
  summary: string;
  load: () => Promise<{ default: Verb }>;
}

/** Verbs in the order of help: the main job first. */
export const VERBS: Entry[] = [
  { name: "run", summary: "Run a pipeline to its verdict.", load: () => import("./run.ts") },
  { name: "resume", summary: "Go on with a run that was stopped.", load: () => import("./resume.ts") },
  { name: "evaluate", summary: "Measure policies on a split, without training.", load: () => import("./evaluate.ts") },
  { name: "validate", summary: "Check pipelines without running them.", load: () => import("./validate.ts") },
  { name: "graph", summary: "Show how a pipeline's stages are joined by events.", load: () => import("./graph.ts") },
  { name: "discover", summary: "Show what an MCP server offers.", load: () => import("./discover.ts") },
  { name: "call", summary: "Call one tool of an MCP server.", load: () => import("./call.ts") },
  { name: "login", summary: "Log in to an MCP server with OAuth.", load: () => import("./login.ts") },
  { name: "list", summary: "List plugins, or show one with its settings.", load: () => import("./list.ts") },
  { name: "new", summary: "Start a plugin of your own.", load: () => import("./new.ts") },
  { name: "runs", summary: "List runs.", load: () => import("./runs.ts") },
  { name: "query", summary: "Ask a run's records in SQL.", load: () => import("./query.ts") },
  { name: "report", summary: "Write the verdict and the report of a run anew.", load: () => import("./report.ts") },
  { name: "watch", summary: "Follow a live run.", load: () => import("./watch.ts") },
  { name: "pause", summary: "Stop a live run so that it can go on later.", load: () => import("./pause.ts") },
  { name: "cancel", summary: "Stop a live run.", load: () => import("./cancel.ts") },
  { name: "doctor", summary: "Show whether this machine has what hone needs.", load: () => import("./doctor.ts") },
  { name: "completion", summary: "Print a completion script for your shell.", load: () => import("./completion.ts") },
];
