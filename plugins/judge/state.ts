/**
 * Judges the end state of a rollout: the files in its folder, and the results of read-only tool calls.
 * The score is 1 if every check of the scenario passes, otherwise a share of `partial` for the parts that are right.
 * @module
 */
import { definePlugin, mismatch, type Plugin, sameValue, wantsValue } from "@hone/hone";
import type { CallSpec, Json, JsonObject, Judgement, Matcher, NamedCall, Scenario } from "@hone/hone";
import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { call_schema, matcher_fields, one_matcher, path_below } from "@hone/hone/schemas";
import { z } from "zod";

const config = z.strictObject({
  partial: z.number().min(0).max(0.99).default(0.4)
    .describe(
      "Maximum score of a wrong end state: multiplied by the share of changes that are right, less those that broke a check.",
    ),
  strict: z.boolean().default(false).describe("Treat changes that no check names as a wrong end state."),
  fixture: z.string().optional().describe("The server's `fixture`: its files are part of the initial state.")
    .meta({ examples: ["./fixture"] }),
  max_files: z.int().min(1).default(2000).describe("Maximum number of files and folders to observe."),
  max_file_bytes: z.int().min(1).default(65536).describe("Larger files are compared only by their hash."),
});

const check_schema = z.strictObject({
  file: path_below.optional().describe("A file that must exist in the end.").meta({ examples: ["notes.txt"] }),
  absent: path_below.optional().describe("A path that must not exist.").meta({ examples: ["old.txt"] }),
  directory: path_below.optional().describe("A folder that must exist.").meta({ examples: ["box"] }),
  call: call_schema.optional().describe("A read-only call whose result is compared.")
    .meta({ examples: [{ tool: "read_text_file", arguments: { path: "notes.txt" } }] }),
  path: z.string().optional().describe("Path of the compared value in the call's result.").meta({
    examples: ["items.0.name"],
  }),
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
const checks_schema = z.array(check_schema) as unknown as z.ZodType<Check[]>;

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
  },
  create: ({ config, base_dir, stage }) => {
    let fixture: Promise<{ tree: Tree }> | undefined;
    const limits = { max_files: config.max_files, max_file_bytes: config.max_file_bytes };
    const initial = () =>
      fixture ??= config.fixture ? readTree(resolve(base_dir, config.fixture), limits) : Promise.resolve({ tree: {} });
    return {
      scale: "absolute",
      decisive: true,
      async observe(environment, scenario, checks = []) {
        const { workdir } = environment;
        const { tree, truncated } = workdir ? await readTree(workdir, limits) : { tree: {}, truncated: false };
        const calls: Json[] = [];
        for (const check of checks) {
          if (!("call" in check)) continue;
          const { outcome, text, result } = await environment.observe(check.call);
          calls.push({ outcome, text, structured: (result as JsonObject | null)?.structuredContent ?? null });
        }
        const was = workdir ? changes(withSetup((await initial()).tree, scenario), tree) : {};
        return { tree, was, calls, truncated } satisfies Observation as unknown as Json;
      },
      judge: ({ group, expected }) =>
        group.map((trajectory) => judgeOne(trajectory.observations[stage], expected, config)),
    };
  },
});
export default plugin;

/** A file's text, the hash of one that is large or no text, or a folder. */
type Entry = string | { sha256: string; bytes: number } | { directory: true };
type Tree = { [path: string]: Entry };

/** `was` holds the previous entry at each changed path; null if there was none. */
interface Observation {
  tree: Tree;
  was: { [path: string]: Entry | null };
  /** Results of the `call` checks, in their order. */
  calls: Json[];
  /** True if there were more files than `max_files`. */
  truncated: boolean;
}

/** Outcomes of a check's call that say nothing about the state. */
const UNSEEN = new Set(["timeout", "server_died", "cancelled", "denied"]);

interface Limits {
  max_files: number;
  max_file_bytes: number;
}

async function readTree(root: string, limits: Limits): Promise<{ tree: Tree; truncated: boolean }> {
  const tree: Tree = {};
  const open = [""];
  for (let count = 0; open.length > 0;) {
    const folder = open.shift()!;
    const entries = await readdir(join(root, folder), { withFileTypes: true });
    for (const entry of entries.sort((a, b) => a.name < b.name ? -1 : 1)) {
      if (++count > limits.max_files) return { tree, truncated: true };
      const path = folder ? `${folder}/${entry.name}` : entry.name;
      if (entry.isDirectory()) {
        tree[path] = { directory: true };
        open.push(path);
      } else if (entry.isFile()) tree[path] = await readEntry(join(root, path), limits.max_file_bytes);
    }
  }
  return { tree, truncated: false };
}

async function readEntry(path: string, max_bytes: number): Promise<Entry> {
  const bytes = await readFile(path);
  const { size } = await stat(path);
  if (size <= max_bytes) {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    } catch {
      // not text: compared by its hash
    }
  }
  return { sha256: createHash("sha256").update(bytes).digest("hex"), bytes: size };
}

/** The tree after the scenario's setup files; the effects of setup calls are unknown. */
function withSetup(fixture: Tree, { setup }: Scenario): Tree {
  const tree: Tree = { ...fixture };
  const folders = (path: string) => {
    for (let at = path.indexOf("/"); at > 0; at = path.indexOf("/", at + 1)) {
      tree[path.slice(0, at)] = { directory: true };
    }
  };
  for (const path of (setup?.directories ?? []).map(tidy)) {
    folders(path);
    tree[path] = { directory: true };
  }
  for (const [path, text] of Object.entries(setup?.files ?? {})) {
    folders(tidy(path));
    tree[tidy(path)] = text;
  }
  return tree;
}

function changes(before: Tree, after: Tree): Observation["was"] {
  const was: Observation["was"] = {};
  for (const path of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (!sameValue(after[path] as Json | undefined, (before[path] ?? null) as Json)) was[path] = before[path] ?? null;
  }
  return was;
}

function judgeOne(
  observation: Json | undefined,
  checks: Check[] | undefined,
  options: z.output<typeof config>,
): Judgement {
  if (!checks) return { abstain: "the scenario has no checks" };
  if (!isObservation(observation)) return { invalid: "the end state was not observed" };
  const { tree, was, calls, truncated } = observation;
  if (truncated) return { invalid: `the rollout's folder has more than ${options.max_files} files` };
  const unseen = (calls as JsonObject[]).find(({ outcome }) => UNSEEN.has(String(outcome)));
  if (unseen) return { invalid: `the end state was not observed (${unseen.outcome}: ${shown(unseen.text!)})` };
  const before: Tree = { ...tree };
  for (const [path, entry] of Object.entries(was)) {
    if (entry === null) delete before[path];
    else before[path] = entry;
  }
  let call = 0;
  const results = checks.map((check) => {
    if ("call" in check) return { now: callProblem(check, calls[call++]), held: false };
    return { now: pathProblem(check, tree), held: !pathProblem(check, before) };
  });
  const stray = strayPaths(checks, Object.keys(was));
  const failed = results.filter(({ now }) => now);
  const parts = { checks: results.length, held: results.length - failed.length, stray: stray.length };
  if (failed.length === 0 && !(options.strict && stray.length > 0)) {
    return { score: 1, reason: "every check passes", parts };
  }
  // A check that held from the start earns no credit; breaking it cancels as much credit.
  const counted = results.filter(({ now, held }) => now || !held);
  const right = counted.reduce((sum, { now, held }) => sum + (!now ? 1 : held ? now.credit - 1 : now.credit), 0);
  const share = Math.max(0, right) / (counted.length + stray.length);
  const reason = failed[0]?.now?.reason ?? `${JSON.stringify(stray[0])} was changed, and no check names it`;
  return { score: options.partial * share, reason, parts };
}

function isObservation(value: Json | undefined): value is Json & Observation {
  return value !== undefined && value !== null && typeof value === "object" && !Array.isArray(value) &&
    "tree" in value && "was" in value;
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
  if ("directory" in check) return folder ? undefined : { reason: `there is no folder ${name}`, credit: 0 };
  if (entry === undefined || folder) return { reason: `there is no file ${name}`, credit: 0 };
  if (!wantsValue(check)) return undefined;
  if (typeof entry !== "string") return { reason: `${name} is too large or not text`, credit: 0.5 };
  const wanted = mismatch(entry, check);
  return wanted === undefined ? undefined : { reason: `${name} is ${shown(entry)}: expected ${wanted}`, credit: 0.5 };
}

function callProblem(
  check: Check & { call: { tool: string }; path?: string },
  answer: Json | undefined,
): Problem | undefined {
  const { outcome, text, structured } = (answer ?? { outcome: "missing", text: "", structured: null }) as JsonObject;
  const name = check.call.tool;
  if (outcome !== "ok") return { reason: `${name} failed: ${shown(String(text))}`, credit: 0 };
  if (!wantsValue(check)) return undefined;
  const value = check.path === undefined ? text! : atPath(structured ?? text!, check.path);
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
