/**
 * Judges the end state of a rollout: the files in its folder, and the results of read-only tool calls and SQL queries.
 * The score is 1 if every check of the scenario passes, otherwise a share of `partial` for what the agent changed for
 * the better: the state before it acted is observed too. A state that was not observed is `invalid`.
 * @module
 */
import { definePlugin, digest, mismatch, type Plugin, queryFile } from "@hone/hone";
import { readTree, sameValue, treeOf, wantsValue } from "@hone/hone";
import type { Environment, Json, JsonObject, Judgement } from "@hone/hone";
import type { Tree, TreeEntry, TreeLimits } from "@hone/hone";
import { z } from "zod";
import { type Check, checks_schema, isResultCheck, namedCalls, namedPaths, pathOf } from "./state_check.ts";
import { questionOf, type ResultCheck } from "./state_check.ts";

export type { Check };

const config = z.strictObject({
  partial: z.number().min(0).max(0.99).default(0.4)
    .describe(
      "Maximum score of a wrong end state: multiplied by the share of changes that are right, less those that broke a check. " +
        "A check that passed before the agent acted earns nothing, nor does one whose call may change things and was therefore not made before.",
    ),
  strict: z.boolean().default(false).describe("Treat changes that no check names as a wrong end state."),
  fixture: z.string().optional().describe(
    "Has no effect: the state before the agent acts is observed, fixture included.",
  )
    .meta({ examples: ["./fixture"] }),
  max_files: z.int().min(1).default(2000).describe("Maximum number of files and folders to observe."),
  max_file_bytes: z.int().min(1).default(65536).describe("Larger files are compared only by their hash."),
});

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "state",
  summary: "Scores the end state, files and results of read-only calls and SQL queries, against the scenario's checks.",
  config,
  examples: [{ title: "No partial credit", with: { partial: 0, strict: true } }],
  expects: {
    field: "checks",
    schema: checks_schema,
    calls: namedCalls,
    paths: namedPaths,
  },
  parts: ["checks", "held", "stray"],
  create: ({ config, log, stage }) => {
    let warned = false;
    return {
      scale: "absolute",
      decisive: true,
      observeBefore: async (environment, _scenario, checks = []) => {
        if (checks.length === 0) return null;
        return await look(environment, checks, config, { read_only: true }) satisfies State as unknown as Json;
      },
      async observe(environment, _scenario, checks = [], before) {
        const { tree, calls, truncated } = await look(environment, checks, config);
        const earlier = isState(before) ? before : null;
        return {
          tree,
          was: tree && earlier?.tree ? changes(treeOf(earlier.tree), tree) : null,
          calls,
          calls_before: earlier?.calls ?? null,
          truncated: truncated || earlier?.truncated === true,
        } satisfies Observation as unknown as Json;
      },
      judge: ({ group, scenario, expected }) =>
        group.map((trajectory) => {
          const { judgement, idle } = judgeOne(trajectory.observations[stage], expected, config);
          if (idle && !warned) {
            warned = true;
            log.warn(
              `every check of scenario ${JSON.stringify(scenario.id)} passes before the agent acts: ` +
                "doing nothing solves it",
            );
          }
          return judgement;
        }),
    };
  },
});
export default plugin;

/** The result of a check's call or query. */
interface CallAnswer {
  /** Digest of the call or query; absent in records of earlier versions. */
  call?: string;
  outcome: string;
  text: string;
  structured: Json;
}

/** A state of the environment. */
interface State {
  /** Null if the rollout has no folder of its own. */
  tree: Tree | null;
  /** Results of the `call` and `sql` checks, in their order. */
  calls: CallAnswer[];
  /** True if there were more files than `max_files`. */
  truncated: boolean;
}

/** The end state, and what it was before. */
interface Observation extends State {
  /** The previous entry at each changed path, null if there was none; null if the previous tree is unknown. */
  was: { [path: string]: TreeEntry | null } | null;
  /** Results of the same calls before the agent acted; null if there are none. Absent as in `CallAnswer`. */
  calls_before?: CallAnswer[] | null;
}

/** Outcomes of a check's call that say nothing about the state. */
const UNSEEN = new Set([
  "timeout",
  "server_died",
  "cancelled",
  "denied",
  "unknown_tool",
  "invalid_arguments",
  "unseen",
]);

/** Looks at the environment; with `read_only`, a call that may change things is `denied`. */
async function look(
  environment: Environment,
  checks: Check[],
  limits: TreeLimits,
  options?: { read_only: boolean },
): Promise<State> {
  const { workdir } = environment;
  const { tree, truncated } = workdir === null ? { tree: null, truncated: false } : await readTree(workdir, limits);
  const calls: CallAnswer[] = [];
  for (const check of checks) {
    if (!isResultCheck(check)) continue;
    const call = digest(questionOf(check));
    calls.push({ call, ...await ("call" in check ? called(environment, check, options) : queried(workdir, check)) });
  }
  return { tree, calls, truncated };
}

async function called(
  environment: Environment,
  { call }: Extract<ResultCheck, { call: unknown }>,
  options?: { read_only: boolean },
): Promise<CallAnswer> {
  const { outcome, text, result } = await environment.observe(call, options);
  return { outcome, text, structured: (result as JsonObject | null)?.structuredContent ?? null };
}

/** A query's answer in the form of a call's: the single value, or the rows, as structured content. */
async function queried(workdir: string | null, { sql }: Extract<ResultCheck, { sql: unknown }>): Promise<CallAnswer> {
  if (workdir === null) return { outcome: "unseen", text: "the rollout has no folder of its own", structured: null };
  const answer = await queryFile(workdir, sql);
  if ("unseen" in answer) return { outcome: "unseen", text: answer.unseen, structured: null };
  if ("failed" in answer) return { outcome: "tool_error", text: answer.failed, structured: null };
  const [row, ...rest] = answer.rows;
  const cells = row && rest.length === 0 ? Object.values(row) : [];
  const value = cells.length === 1 ? cells[0]! : answer.rows;
  return { outcome: "ok", text: JSON.stringify(value), structured: value };
}

function changes(before: Tree, after: Tree): NonNullable<Observation["was"]> {
  const was: NonNullable<Observation["was"]> = Object.create(null);
  for (const path of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (!sameValue(after[path] as Json | undefined, (before[path] ?? null) as Json)) was[path] = before[path] ?? null;
  }
  return was;
}

/** A judgement; `idle` if every check passes, and did before the agent acted. */
interface Judged {
  judgement: Judgement;
  idle?: boolean;
}

function judgeOne(seen: Json | undefined, checks: Check[] | undefined, options: z.output<typeof config>): Judged {
  if (!checks) return { judgement: { abstain: "the scenario has no checks" } };
  if (!isObservation(seen)) return { judgement: { invalid: "the end state was not observed" } };
  const unseen = unseenPart(seen, checks, options);
  if (unseen) return { judgement: { invalid: unseen } };
  const was = seen.was ?? {};
  const results = resultsOf(seen, was, checks);
  const stray = strayPaths(checks, Object.keys(was));
  const failed = results.filter(({ now }) => now);
  const parts = { checks: results.length, held: results.length - failed.length, stray: stray.length };
  if (failed.length === 0 && !(options.strict && stray.length > 0)) {
    const idle = results.every(({ before }) => before === 1);
    return { judgement: { score: 1, reason: "every check passes", parts }, idle };
  }
  // A check that passed from the start earns no credit; breaking it cancels as much credit.
  const counted = results.filter(({ now, before }) => now || before !== 1);
  const right = counted.reduce((sum, { now, before }) => sum + gain(now?.credit ?? 1, before), 0);
  const share = Math.max(0, right) / (counted.length + stray.length);
  const reason = failed[0]?.now?.reason ?? `${JSON.stringify(stray[0])} was changed, and no check names it`;
  return { judgement: { score: options.partial * share, reason, parts } };
}

/** A check's result in the end, and its credit before the agent acted: from 0 to 1, null if unknown. */
interface Result {
  now: Problem | undefined;
  before: number | null;
}

/** What a check earns: all if it passes now, otherwise as much as it is nearer to that than before. */
function gain(now: number, before: number | null): number {
  if (before === null) return 0;
  return now === 1 ? 1 : now - before;
}

function resultsOf(
  { tree, calls, calls_before }: Observation,
  was: NonNullable<Observation["was"]>,
  checks: Check[],
): Result[] {
  const before = treeOf(tree ?? {});
  for (const [path, entry] of Object.entries(was)) {
    if (entry === null) delete before[path];
    else before[path] = entry;
  }
  let index = 0;
  return checks.map((check) => {
    if (!isResultCheck(check)) {
      const now = pathProblem(check, tree ?? {}) ?? changeProblem(check, touches(Object.keys(was), pathOf(check)));
      return { now, before: check.changed ? 0 : pathProblem(check, before)?.credit ?? 1 };
    }
    const [answer, earlier] = [calls[index]!, calls_before?.[index]];
    index++;
    const known = earlier !== undefined && earlier.outcome !== "denied";
    const now = resultProblem(check, answer) ??
      (known ? changeProblem(check, !sameResult(check, earlier, answer)) : undefined);
    if (!known) return { now, before: null };
    return { now, before: check.changed ? 0 : resultProblem(check, earlier)?.credit ?? 1 };
  });
}

/** Whether an entry, or anything below it, was changed. */
function touches(changed: string[], path: string): boolean {
  return changed.some((one) => one === path || one.startsWith(`${path}/`));
}

function sameResult({ path }: ResultCheck, before: CallAnswer, now: CallAnswer): boolean {
  const value = ({ text, structured }: CallAnswer) =>
    path === undefined ? [text, structured] : atPath(structured ?? text, path);
  return before.outcome === now.outcome && sameValue(value(before) ?? null, value(now) ?? null);
}

/** Why a check that compares with the state before fails. */
function changeProblem(check: Check, is_changed: boolean): Problem | undefined {
  if (check.unchanged && is_changed) return { reason: `${nameOf(check)} was changed`, credit: 0 };
  if (check.changed && !is_changed) return { reason: `${nameOf(check)} is as it was before`, credit: 0 };
}

/** What a check looks at, in words. */
function nameOf(check: Check): string {
  if (!isResultCheck(check)) return JSON.stringify(pathOf(check));
  return "call" in check ? check.call.tool : `the query of ${JSON.stringify(check.sql.database)}`;
}

/** What was not observed of all that the checks need, as a sentence; undefined if nothing is missing. */
function unseenPart(
  seen: Observation,
  checks: Check[],
  { strict, max_files }: z.output<typeof config>,
): string | undefined {
  const { tree, was, calls, calls_before, truncated } = seen;
  if (truncated) return `the rollout's folder has more than ${max_files} files`;
  if (strict || checks.some((check) => !isResultCheck(check))) {
    if (tree === null) return "the end state was not observed (the rollout has no folder of its own)";
    if (was === null) return "the state before the agent acted was not observed";
  }
  const asked = checks.filter(isResultCheck);
  const wanted = asked.map((check) => digest(questionOf(check)));
  const others = (made: CallAnswer[]) =>
    made.length !== wanted.length || made.some(({ call }, i) => call !== undefined && call !== wanted[i]);
  if (others(calls) || calls_before && others(calls_before)) {
    return "the end state was not observed (its checks made other calls then)";
  }
  const said = ({ outcome, text }: CallAnswer) => `(${outcome}: ${shown(text)})`;
  const end = calls.find(({ outcome }) => UNSEEN.has(outcome));
  if (end) return `the end state was not observed ${said(end)}`;
  const compares = (index: number) => asked[index]!.unchanged === true || asked[index]!.changed === true;
  const start = calls_before?.find(({ outcome }, index) =>
    UNSEEN.has(outcome) && (outcome !== "denied" || compares(index))
  );
  if (start) return `the state before the agent acted was not observed ${said(start)}`;
  return calls_before === null && asked.some((_, index) => compares(index))
    ? "the state before the agent acted was not observed"
    : undefined;
}

function isState(value: Json | undefined): value is Json & State {
  if (value === undefined || value === null || typeof value !== "object" || Array.isArray(value)) return false;
  return "tree" in value && typeof value.tree === "object" && Array.isArray(value.calls);
}

function isObservation(value: Json | undefined): value is Json & Observation {
  return isState(value) && "was" in value && typeof value.was === "object";
}

/** Why a check fails, and its partial credit: the right path with the wrong content is half. */
interface Problem {
  reason: string;
  credit: number;
}

function pathProblem(check: Exclude<Check, ResultCheck>, tree: Tree): Problem | undefined {
  const path = pathOf(check);
  const name = JSON.stringify(path);
  const entry = Object.hasOwn(tree, path) ? tree[path] : undefined;
  if ("absent" in check) return entry === undefined ? undefined : { reason: `${name} is still there`, credit: 0 };
  const folder = typeof entry === "object" && "directory" in entry;
  const odd = typeof entry === "object" && ("link" in entry || "special" in entry);
  if (odd) {
    return { reason: `${name} is ${"link" in entry ? "a symbolic link" : "a pipe, socket or device"}`, credit: 0 };
  }
  if ("directory" in check) return folder ? undefined : { reason: `there is no folder ${name}`, credit: 0 };
  if (entry === undefined || folder) return { reason: `there is no file ${name}`, credit: 0 };
  if (!wantsValue(check)) return undefined;
  if (typeof entry !== "string") return { reason: `${name} is too large or not text`, credit: 0.5 };
  const wanted = mismatch(entry, check);
  return wanted === undefined ? undefined : { reason: `${name} is ${shown(entry)}: expected ${wanted}`, credit: 0.5 };
}

function resultProblem(check: Check & ResultCheck, { outcome, text, structured }: CallAnswer): Problem | undefined {
  const name = nameOf(check);
  if (outcome !== "ok") return { reason: "sql" in check ? text : `${name} failed: ${shown(text)}`, credit: 0 };
  if (!wantsValue(check)) return undefined;
  const whole = "sql" in check ? structured : text;
  const value = check.path === undefined ? whole : atPath(structured ?? text, check.path);
  if (value === undefined) return { reason: `${name} answered nothing at ${check.path}`, credit: 0 };
  const wanted = mismatch(value, check);
  return wanted === undefined
    ? undefined
    : { reason: `${name} answered ${shown(value)}: expected ${wanted}`, credit: 0 };
}

/** `items.0.name` of a JSON value, or of JSON text. */
function atPath(value: Json, path: string): Json | undefined {
  let at: Json | undefined = value;
  if (typeof at === "string") {
    try {
      at = JSON.parse(at);
    } catch {
      return undefined;
    }
  }
  for (const key of path.split(".")) {
    if (at === null || typeof at !== "object" || !Object.hasOwn(at, key)) return undefined;
    at = (at as JsonObject)[key];
  }
  return at;
}

/** A database and the files that its engine keeps beside it. */
const BESIDE = ["", "-wal", "-shm", "-journal", ".wal"];

/** Changed paths that no check names and that are not parent folders of a named one. */
function strayPaths(checks: Check[], changed: string[]): string[] {
  const named = checks.flatMap((check) => {
    if (!isResultCheck(check)) return [pathOf(check)];
    return "sql" in check ? BESIDE.map((end) => check.sql.database + end) : [];
  });
  return changed.filter((path) => !named.some((name) => name === path || name.startsWith(`${path}/`)));
}

function shown(value: Json): string {
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
