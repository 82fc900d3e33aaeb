/**
 * Performs the calls of a recipe in a fresh environment and observes what they change, by the server's own read tools
 * and in the rollout's folder: from that come the checks of a scenario.
 * @module
 */
import {
  type CallResult,
  type CallSpec,
  HoneError,
  type Json,
  type LeasedEnvironment,
  readTree,
  type Scenario,
} from "@hone/hone";
import type { SourceTools, ToolSpec, Tree } from "@hone/hone";
import { type Filled, type Leaf, withValue } from "./argument_forms.ts";
import { type Fact, factsOf, isFailure, withoutFolder } from "./facts.ts";

/** One call of a recipe. */
export interface Step {
  filled: Filled;
  /** A leaf whose value is the first fact of the step before, if its form is one of these. */
  takes?: { leaf: Leaf; forms: Fact["form"][] };
  /** The call must fail: the agent has to recover from that. Default: it must succeed. */
  fails?: boolean | "either";
}

/** What performing has shown. */
export interface Performed {
  /** The calls as they were made. */
  made: Filled[];
  results: CallResult[];
  /** Whether each call failed. */
  failed: boolean[];
  /** Facts of each result. */
  facts: Fact[][];
  /** Conditions that the calls made true, and that were not true before. */
  checks: object[];
}

const TREE_LIMITS = { max_files: 2000, max_file_bytes: 4096 };
const MOST_TEXT = 4000;
/** Of one call: a slow tool is no use for a scenario. */
export const CALL_MS = 5000;

/** Performs the steps. A text says why it is no recipe for a scenario. Throws if there is no environment. */
export async function perform(
  tools: SourceTools,
  setup: Scenario["setup"],
  steps: Step[],
  observers: readonly CallSpec[],
): Promise<Performed | string> {
  let leased: LeasedEnvironment;
  try {
    leased = await tools.lease({ setup });
  } catch (error) {
    if (error instanceof HoneError && error.code === "SETUP_FAILED") return "a call of its setup failed";
    throw error;
  }
  await using environment = leased;
  const writes = steps.some(({ filled }) => !filled.form.tool.annotations.read_only);
  const before = writes ? await snapshot(environment, observers) : null;
  const performed: Performed = { made: [], results: [], failed: [], facts: [], checks: [] };
  for (const { filled, takes, fails = false } of steps) {
    const fact = takes && performed.facts.at(-1)?.find(({ form }) => takes.forms.includes(form));
    if (takes && !fact) return "no result to use in the next call";
    const call = takes ? withValue(filled, takes.leaf, fact!.value) : filled;
    const result = await called(environment, filled.form.tool, call, tools.signal);
    const failed = result.outcome !== "ok" || isFailure(result.text) && call.form.tool.annotations.read_only === true;
    if (fails !== "either" && failed !== fails) return fails ? "a call that must fail did not" : "a call failed";
    performed.made.push(call);
    performed.results.push(result);
    performed.failed.push(failed);
    // What the call was given is no news.
    const given = call.values.map(({ value }) => value);
    performed.facts.push(factsOf(result, environment.workdir).filter(({ value }) => !given.includes(value)));
  }
  if (before) performed.checks.push(...changes(before, await snapshot(environment, observers), performed.made));
  return performed;
}

/** Makes a call within a time limit of its own. */
async function called(
  environment: LeasedEnvironment,
  { model_name }: ToolSpec,
  { arguments: given }: Filled,
  signal: AbortSignal,
): Promise<CallResult> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)]);
  const result = await environment.call(model_name, given, { signal: limit });
  signal.throwIfAborted();
  return result;
}

/** The state of an environment. */
interface Snapshot {
  tree: Tree;
  /** Results of the observers. */
  seen: { call: CallSpec; text: string }[];
}

async function snapshot(environment: LeasedEnvironment, observers: readonly CallSpec[]): Promise<Snapshot> {
  const { workdir } = environment;
  const tree = workdir === null ? Object.create(null) : (await readTree(workdir, TREE_LIMITS)).tree;
  const seen: Snapshot["seen"] = [];
  for (const call of observers) {
    const { outcome, text } = await environment.observe(call, { read_only: true });
    if (outcome === "ok") seen.push({ call, text: withoutFolder(text, workdir) });
  }
  return { tree, seen };
}

/** Checks for what has changed: files that the calls name, or else what the observers tell. */
function changes(before: Snapshot, after: Snapshot, made: Filled[]): object[] {
  const named = made.flatMap(({ values }) => values.map(({ value }) => String(value)));
  const files = fileChecks(before.tree, after.tree)
    .filter(({ path }) =>
      named.some((name) => name === path || name.startsWith(`${path}/`) || path.startsWith(`${name}/`))
    )
    .map(({ check }) => check);
  return files.length > 0 ? files : after.seen.flatMap(({ call, text }, i) => {
    const was = before.seen[i]?.text;
    return was === undefined || was === text ? [] : observedChecks(call, was, text, named);
  });
}

interface FileCheck {
  path: string;
  check: object;
}

function fileChecks(before: Tree, after: Tree): FileCheck[] {
  const paths = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return paths.flatMap((path): FileCheck[] => {
    const [was, is] = [before[path], after[path]];
    if (is === undefined) return [{ path, check: { absent: path } }];
    if (JSON.stringify(was) === JSON.stringify(is)) return [];
    if (typeof is === "string") return [{ path, check: { file: path, equals: is } }];
    return typeof is === "object" && "directory" in is ? [{ path, check: { directory: path } }] : [];
  });
}

function observedChecks(call: CallSpec, was: string, is: string, named: string[]): object[] {
  // All of it: what a value belongs to matters as much as the value.
  if (is.length > 0 && is.length <= MOST_TEXT) return [{ call, equals: parsed(is) ?? is }];
  const appeared = [...new Set(named)].filter((name) => name.length > 2 && is.includes(name) && !was.includes(name));
  return appeared.map((contains) => ({ call, contains }));
}

/** The text as a JSON object or list, whose layout does not count; undefined for other text. */
function parsed(text: string): Json | undefined {
  try {
    const value: Json = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
