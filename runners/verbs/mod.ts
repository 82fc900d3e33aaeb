/**
 * The table of verbs: what `hone --help` lists, and the file of each. Summaries are repeated here so that help loads
 * one small file; a test checks that they equal the verbs' own.
 * @module
 */
import type { Verb } from "./verb.ts";

/** A verb, as help lists it. */
export interface Entry {
  /** One word, or two: `scenarios check`. */
  name: string;
  summary: string;
  load: () => Promise<{ default: Verb }>;
}

/** Verbs in the order of help. */
export const VERBS: Entry[] = [
  { name: "run", summary: "Run a pipeline to its verdict.", load: () => import("./run.ts") },
  { name: "resume", summary: "Resume a stopped run.", load: () => import("./resume.ts") },
  { name: "evaluate", summary: "Evaluate policies on a split, without training.", load: () => import("./evaluate.ts") },
  { name: "eval", summary: "Measure a model on a dataset.", load: () => import("./eval.ts") },
  { name: "train", summary: "Train a model on a dataset.", load: () => import("./train.ts") },
  { name: "rejudge", summary: "Judge the rollouts of a run again.", load: () => import("./rejudge.ts") },
  {
    name: "label",
    summary: "Record what a person says of a run's rollouts.",
    load: () => import("./label.ts"),
  },
  { name: "compare", summary: "Have a judge compare two policies of a run.", load: () => import("./compare_pairs.ts") },
  { name: "audit", summary: "Measure how far a judge can be trusted.", load: () => import("./audit.ts") },
  { name: "validate", summary: "Check pipelines without running them.", load: () => import("./validate.ts") },
  {
    name: "scenarios check",
    summary: "Check scenarios by trials on the real servers.",
    load: () => import("./scenarios_check.ts"),
  },
  {
    name: "scenarios generate",
    summary: "Write a pipeline's generated scenarios to a file.",
    load: () => import("./scenarios_generate.ts"),
  },
  { name: "graph", summary: "Show how a pipeline's stages are connected by events.", load: () => import("./graph.ts") },
  { name: "discover", summary: "Show what an MCP server offers.", load: () => import("./discover.ts") },
  { name: "call", summary: "Call one tool of an MCP server.", load: () => import("./call.ts") },
  { name: "login", summary: "Log in to an MCP server with OAuth.", load: () => import("./login.ts") },
  { name: "list", summary: "List plugins, or show one with its settings.", load: () => import("./list.ts") },
  { name: "new", summary: "Create a plugin.", load: () => import("./new.ts") },
  { name: "runs", summary: "List runs.", load: () => import("./runs.ts") },
  { name: "query", summary: "Query a run's records in SQL.", load: () => import("./query.ts") },
  { name: "report", summary: "Regenerate the verdict and the report of a run.", load: () => import("./report.ts") },
  { name: "watch", summary: "Follow a live run.", load: () => import("./watch.ts") },
  { name: "pause", summary: "Pause a live run.", load: () => import("./pause.ts") },
  { name: "cancel", summary: "Cancel a live run.", load: () => import("./cancel.ts") },
  { name: "doctor", summary: "Check this machine's prerequisites.", load: () => import("./doctor.ts") },
  { name: "completion", summary: "Print a completion script for your shell.", load: () => import("./completion.ts") },
];

/** The verb that a command line begins with, and the words after it. */
export function verbIn(words: string[]): { entry: Entry; rest: string[] } | undefined {
  for (const count of [2, 1]) {
    const entry = VERBS.find(({ name }) => name === words.slice(0, count).join(" "));
    if (entry) return { entry, rest: words.slice(count) };
  }
  return undefined;
}

/** The verbs of two words whose first is this one. */
export function verbsUnder(first: string): Entry[] {
  return VERBS.filter(({ name }) => name.startsWith(`${first} `));
}

/** What verbs may begin with: verbs of one word, and the first words of the others. */
export function firstWords(names: string[]): string[] {
  return [...new Set(names.map((name) => name.split(" ")[0]!))];
}
