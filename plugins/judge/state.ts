/**
 * Judges the end state of a rollout: the files in its folder, and the results of read-only tool calls.
 * The score is 1 if every check of the scenario passes, otherwise a share of `partial` for what the agent changed for
 * the better: the state before it acted is observed too. A state that was not observed is `invalid`.
 * @module
 */
import { definePlugin, digest, mismatch, type Plugin, readTree, sameValue, treeOf, wantsValue } from "@hone/hone";
import type { CallSpec, Environment, Json, JsonObject, Judgement, Matcher, NamedCall } from "@hone/hone";
import type { Tree, TreeEntry, TreeLimits } from "@hone/hone";
import { call_schema, matcher_fields, one_matcher, path_below } from "@hone/hone/schemas";
import { z } from "zod";

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

/** The keys of checks that look into the rollout's folder. */
const FILE_KEYS = ["file", "absent", "directory"];

const check_schema = z.strictObject({
  file: path_below.optional().describe(
    "Path of a file that must exist in the end, below the rollout's own folder; its text is the compared value.",
  ).meta({ examples: ["notes.txt"] }),
  absent: path_below.optional().describe("Path that must not exist in the end.").meta({ examples: ["old.txt"] }),
  directory: path_below.optional().describe("Path of a folder that must exist in the end.").meta({ examples: ["box"] }),
  call: call_schema.optional().describe(
    "Tool call that hone makes after the rollout, of a read-only tool; it must succeed, and its result is the compared " +
      "value. `${workdir}` in an argument is replaced.",
  ).meta({ examples: [{ tool: "read_text_file", arguments: { path: "notes.txt" } }] }),
  path: z.string().optional().describe(
    "With `call`: where in the result the compared value is, keys and list positions (from 0) joined by dots. The result " +
      "is the tool's structured content, or else its text read as JSON. Default: the whole text.",
  ).meta({ examples: ["items.0.name"] }),
  ...matcher_fields,
}).refine(
  (value) => ["file", "absent", "directory", "call"].filter((key) => key in value).length === 1,
  "must have exactly one of file, absent, directory and call",
).refine(...one_matcher);

/** One condition on the end state. */
export type Check =
  & ({ file: string } | { absent: string } | { directory: string } | { call: CallSpec; path?: string })
  & Matcher;

/** A check's form is given by its refinements, which zod's types cannot express. */
const checks_schema = z.array(check_schema).describe(
  "Conditions on the end state, all of which must hold; read by judge/state. Each has exactly one of `file`, `absent`, " +
    "`directory` and `call`, and at most one of `equals`, `contains` and `matches`, which a value is compared with.",
).meta({
  examples: [
    [{ file: "tree.txt", equals: "maple" }, { absent: "old.txt" }, { directory: "box" }],
    [{ file: "log.txt", matches: "^done: \\d+ files$" }, { file: "notes.txt", contains: "maple" }],
    [{
      call: { server: "shop", tool: "list_orders", arguments: { customer: "Ada" } },
      path: "orders.0.total",
      equals: 12.5,
      tolerance: 0.01,
    }],
  ],
}) as unknown as z.ZodType<Check[]>;

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "state",
  summary: "Scores the end state, files and results of read-only calls, against the scenario's checks.",
  config,
  examples: [{ title: "No partial credit", with: { partial: 0, strict: true } }],
  expects: {
    field: "checks",
    schema: checks_schema,
    calls: (checks) =>
      checks.flatMap((check, i): NamedCall[] =>
        "call" in check ? [{ as: "observed", call: check.call, path: [i, "call", "tool"] }] : []
      ),
    paths: (checks) => checks.flatMap((check, i) => FILE_KEYS.filter((key) => key in check).map((key) => [i, key])),
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

/** The result of a check's call. */
interface CallAnswer {
  /** Digest of the call; absent in records of earlier versions. */
  call?: string;
  outcome: string;
  text: string;
  structured: Json;
}

/** A state of the environment. */
interface State {
  /** Null if the rollout has no folder of its own. */
  tree: Tree | null;
  /** Results of the `call` checks, in their order. */
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
    if (!("call" in check)) continue;
    const { outcome, text, result } = await environment.observe(check.call, options);
    const structured = (result as JsonObject | null)?.structuredContent ?? null;
    calls.push({ call: digest(check.call), outcome, text, structured });
  }
  return { tree, calls, truncated };
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
    if (!("call" in check)) {
      return { now: pathProblem(check, tree ?? {}), before: pathProblem(check, before)?.credit ?? 1 };
    }
    const [answer, earlier] = [calls[index]!, calls_before?.[index]];
    index++;
    const known = earlier !== undefined && earlier.outcome !== "denied";
    return { now: callProblem(check, answer), before: known ? callProblem(check, earlier)?.credit ?? 1 : null };
  });
}

/** What was not observed of all that the checks need, as a sentence; undefined if nothing is missing. */
function unseenPart(
  seen: Observation,
  checks: Check[],
  { strict, max_files }: z.output<typeof config>,
): string | undefined {
  const { tree, was, calls, calls_before, truncated } = seen;
  if (truncated) return `the rollout's folder has more than ${max_files} files`;
  if (strict || checks.some((check) => !("call" in check))) {
    if (tree === null) return "the end state was not observed (the rollout has no folder of its own)";
    if (was === null) return "the state before the agent acted was not observed";
  }
  const wanted = checks.flatMap((check) => "call" in check ? [digest(check.call)] : []);
  const others = (made: CallAnswer[]) =>
    made.length !== wanted.length || made.some(({ call }, i) => call !== undefined && call !== wanted[i]);
  if (others(calls) || calls_before && others(calls_before)) {
    return "the end state was not observed (its checks made other calls then)";
  }
  const said = ({ outcome, text }: CallAnswer) => `(${outcome}: ${shown(text)})`;
  const end = calls.find(({ outcome }) => UNSEEN.has(outcome));
  if (end) return `the end state was not observed ${said(end)}`;
  const start = calls_before?.find(({ outcome }) => UNSEEN.has(outcome) && outcome !== "denied");
  return start && `the state before the agent acted was not observed ${said(start)}`;
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

function pathProblem(check: Exclude<Check, { call: unknown }>, tree: Tree): Problem | undefined {
  const path = tidy("file" in check ? check.file : "directory" in check ? check.directory : check.absent);
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

function callProblem(
  check: Check & { call: { tool: string }; path?: string },
  { outcome, text, structured }: CallAnswer,
): Problem | undefined {
  const name = check.call.tool;
  if (outcome !== "ok") return { reason: `${name} failed: ${shown(text)}`, credit: 0 };
  if (!wantsValue(check)) return undefined;
  const value = check.path === undefined ? text : atPath(structured ?? text, check.path);
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

/** Changed paths that no check names and that are not parent folders of a named one. */
function strayPaths(checks: Check[], changed: string[]): string[] {
  const named = checks.flatMap((check) =>
    "file" in check ? [check.file] : "directory" in check ? [check.directory] : "absent" in check ? [check.absent] : []
  ).map(tidy);
  return changed.filter((path) => !named.some((name) => name === path || name.startsWith(`${path}/`)));
}

function tidy(path: string): string {
  return path.replace(/^(\.\/)+/, "").replace(/\/+$/, "");
}

function shown(value: Json): string {
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
