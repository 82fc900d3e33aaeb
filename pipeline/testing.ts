/**
 * Test helpers for plugins: `conformance(plugin)` registers the tests that every plugin must pass, usually in the first
 * line of its test file. `fakeContext`, `fakeScenario`, `fakeTrajectory`, `fakeTurn`, `fakeToolCall`, `fakeJudgeArgs`
 * and `fakeSourceTools` create arguments for roles.
 * @module
 */
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jsonSchema } from "./config/issues.ts";
import { pipeline_schema } from "./config/pipeline_schema.ts";
import type { CallOutcome, Catalog, JsonObject, Scenario, ToolCallRecord, Trajectory, TurnRecord } from "./events.ts";
import { isKind, KIND_NAMES, KINDS } from "./kinds.ts";
import type { Given, KindFacts } from "./kinds/kind.ts";
import type {
  Agent,
  CallResult,
  Context,
  Environment,
  JudgeArgs,
  Kind,
  Llm,
  Plugin,
  Policy,
  Roles,
  SourceTools,
} from "./plugin.ts";
import type { Verdict } from "./verdict/verdict_types.ts";

/** A context for `create`; `lines` collects the plugin's log. `base_dir` is the system's temporary folder. */
export function fakeContext<C>(config: C, given: Partial<Context<C>> = {}): Context<C> & { lines: string[] } {
  const lines: string[] = [];
  const write = (level: string) => (message: string) => void lines.push(`${level}: ${message}`);
  const log = { debug: write("debug"), info: write("info"), warn: write("warn") };
  const signal = new AbortController().signal;
  return { config, stage: "test", log, signal, base_dir: tmpdir(), ...given, lines };
}

/** A scenario with only a task; `given` overrides fields. */
export function fakeScenario(given: Partial<Scenario> = {}): Scenario {
  return { id: "one", task: "Write hi to a.txt.", split: "train", tags: [], checks: [], ...given };
}

/** A finished rollout without turns; `given` overrides fields. */
export function fakeTrajectory(given: Partial<Trajectory> = {}): Trajectory {
  return {
    rollout_id: "r1",
    group_id: "g1",
    scenario_id: "one",
    purpose: "train",
    split: "train",
    temperature: 1,
    try: 0,
    policy: "base",
    policy_version: 0,
    step: 1,
    seed: 0,
    attempt: 1,
    turns: [],
    tool_calls: [],
    outcome: { end: "answered", answer: "" },
    observations: {},
    seconds: 0,
    ...given,
  };
}

/** A turn without a call. */
export function fakeTurn(given: Partial<TurnRecord> = {}): TurnRecord {
  const numbers = { index: 0, prompt_tokens: 1, output_tokens: 1, seconds: 0 };
  return { type: "turn", input: [], text: "Done.", tool_calls: [], finish_reason: "stop", ...numbers, ...given };
}

/** A tool call on the server "files". */
export function fakeToolCall(tool: string, args: JsonObject = {}, outcome: CallOutcome = "ok"): ToolCallRecord {
  const place = { type: "tool_call" as const, turn: 0, index: 0, server: "files" };
  return { ...place, tool, arguments: args, outcome, text: "", result: null, truncated: false, seconds: 0 };
}

const NOTHING_SAID = { text: "", prompt_tokens: 0, output_tokens: 0, seconds: 0, cached: false };

/** Arguments of a judge: one rollout without turns, no tools, no labels, and a language model with empty replies. */
export function fakeJudgeArgs<E>(given: Partial<JudgeArgs<E>> = {}): JudgeArgs<E> {
  const llm: Llm = { ask: ({ endpoint: { model } }) => Promise.resolve({ ...NOTHING_SAID, model }) };
  const signal = new AbortController().signal;
  const labels = () => Promise.resolve([]);
  const of_run = { scenario: fakeScenario(), expected: undefined, signal, llm, tools: [], labels };
  return { group: [fakeTrajectory()], ...of_run, ...given };
}

/** What a scenario source may use, without servers: each lease has no tools and no folder, and no trial succeeds. */
export function fakeSourceTools(given: Partial<SourceTools> = {}): SourceTools {
  const none = () => Promise.resolve<CallResult>({ outcome: "unknown_tool", text: "", result: null, seconds: 0 });
  const [disposed, reason] = [() => Promise.resolve(), "no server"];
  const { llm, signal } = fakeJudgeArgs();
  return {
    seed: 7,
    recorded: null,
    world: () => Promise.resolve("none"),
    lease: () =>
      Promise.resolve({
        id: "e1",
        workdir: null,
        tools: [],
        call: none,
        observe: none,
        [Symbol.asyncDispose]: disposed,
      }),
    trial: () =>
      Promise.resolve({ trajectory: fakeTrajectory(), judgements: {}, success: false, invalid: reason, reason }),
    cache_dir: join(tmpdir(), "hone-source-cache"),
    llm,
    signal,
    progress: () => {},
    save: () => Promise.resolve(),
    ...given,
  };
}

/** Options of `conformance`. */
export interface ConformanceOptions {
  /** Settings for the plugin's role. Default: those of its first example. */
  with?: JsonObject;
  /** The language model for the role. Default: one with empty replies. */
  llm?: Llm;
}

/** Registers the tests that every plugin must pass. */
export function conformance(plugin: Plugin, options: ConformanceOptions = {}): void {
  const name = `conformance() accepts ${plugin.kind}/${plugin.name}`;
  Deno.test(`${name}: kind, name and summary`, () => checkForm(plugin));
  Deno.test(`${name}: every field is described and has a default or an example`, () => {
    assert.deepEqual(undescribed(jsonSchema(plugin.config)), []);
    if (plugin.expects) assert.deepEqual(undescribed(jsonSchema(plugin.expects.schema)), []);
  });
  Deno.test(`${name}: examples parse, and parse again unchanged`, () => checkExamples(plugin));
  Deno.test(`${name}: create has no side effects, returns the role and disposes`, () => checkCreate(plugin));
  Deno.test(`${name}: create honours an aborted signal`, () => checkAborted(plugin));
  Deno.test(`${name}: its role returns valid results`, () => checkResults(plugin, options));
  Deno.test(`${name}: its work ends when the signal is aborted`, () => checkEnds(plugin, options));
}

async function checkResults(plugin: Plugin, options: ConformanceOptions): Promise<void> {
  await withRole(plugin, options, async (role, given) => {
    const { check } = KINDS[plugin.kind] as KindFacts<Kind>;
    await check?.(role as never, given);
  });
}

/** Time limit for work to end after its signal was aborted. */
const ENDS_MS = 10_000;

/** Fails for work that ignores its signal: it has not ended within the time limit after the abort. */
async function checkEnds(plugin: Plugin, options: ConformanceOptions): Promise<void> {
  const { aborted } = KINDS[plugin.kind] as KindFacts<Kind>;
  if (!aborted) return;
  await withRole(plugin, options, async (role, given, stop) => {
    const work = aborted(role as never, given).then(() => true, () => true);
    stop.abort(new Error("the run was cancelled"));
    let timer: ReturnType<typeof setTimeout>;
    const late = new Promise<boolean>((resolve) => timer = setTimeout(() => resolve(false), ENDS_MS));
    assert.ok(await Promise.race([work, late]), `it is still working ${ENDS_MS / 1000} s after the signal was aborted`);
    clearTimeout(timer!);
  });
}

async function withRole(
  plugin: Plugin,
  { with: settings = plugin.examples[0]!.with, llm }: ConformanceOptions,
  use: (role: Roles[Kind], given: Given, stop: AbortController) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const dir = await Deno.makeTempDir({ prefix: "hone-conformance-" });
  const role = await plugin.create(fakeContext(await plugin.config.parseAsync(settings), { signal: stop.signal }));
  try {
    await use(role, { ...given(plugin, dir, stop.signal), ...(llm && { llm }) }, stop);
  } finally {
    await role[Symbol.asyncDispose]?.();
    await Deno.remove(dir, { recursive: true });
  }
}

function checkForm({ kind, name, summary }: Plugin): void {
  assert.ok(isKind(kind), `kind ${kind} is not one of ${KIND_NAMES.join(", ")}`);
  assert.match(name, /^[a-z][a-z0-9_-]*$/, "a name consists of lower-case letters, digits, - and _");
  assert.match(summary, /^[A-Z].*\.$/s, "a summary is a sentence");
}

/** Fields without a description, or without both default and example, by dotted path. */
export function undescribed(schema: Record<string, unknown>, path = ""): string[] {
  const parts = (schema.anyOf ?? schema.oneOf ?? schema.allOf ?? []) as Record<string, unknown>[];
  const inner = [schema.items, schema.additionalProperties].filter((part) => part !== null && typeof part === "object");
  const fields = Object.entries((schema.properties ?? {}) as Record<string, Record<string, unknown>>);
  return [
    ...fields.flatMap(([key, field]) => {
      const at = path ? `${path}.${key}` : key;
      const shown = "default" in field || "const" in field || "properties" in field ||
        (Array.isArray(field.examples) && field.examples.length > 0);
      const lacks = [field.description ? "" : "description", shown ? "" : "default or example"].filter(Boolean);
      return [...lacks.map((lack) => `${at} has no ${lack}`), ...undescribed(field, at)];
    }),
    ...parts.flatMap((part) => undescribed(part, path)),
    ...inner.flatMap((part) => undescribed(part as Record<string, unknown>, path)),
  ];
}

async function checkExamples({ config, examples }: Plugin): Promise<void> {
  assert.ok(examples.length > 0, "a plugin must have at least one example");
  for (const example of examples) {
    const parsed = await config.safeParseAsync(example.with);
    assert.ok(parsed.success, `example ${JSON.stringify(example.title)} does not parse: ${parsed.error}`);
    assert.deepEqual(
      await config.parseAsync(parsed.data),
      parsed.data,
      "parsed settings must parse again unchanged",
    );
  }
}

async function checkCreate(plugin: Plugin): Promise<void> {
  for (const example of plugin.examples) {
    const said = await listening(async () => {
      const role = await plugin.create(fakeContext(await plugin.config.parseAsync(example.with)));
      for (const method of KINDS[plugin.kind].methods) {
        assert.equal(typeof (role as Record<string, unknown>)[method], "function", `the role has no ${method}()`);
      }
      await role[Symbol.asyncDispose]?.();
    });
    assert.deepEqual(said, [], "a plugin must write to its log, not to the console");
  }
}

/** With an aborted signal, `create` throws or returns a role that can be disposed; it never hangs. */
async function checkAborted(plugin: Plugin): Promise<void> {
  const config = await plugin.config.parseAsync(plugin.examples[0]!.with);
  const context = fakeContext(config, { signal: AbortSignal.abort(new Error("the run was cancelled")) });
  try {
    const role = await plugin.create(context);
    await role[Symbol.asyncDispose]?.();
  } catch (error) {
    assert.ok(error instanceof Error, "a plugin must only throw Errors");
  }
}

/** Runs `work` and returns its console output. */
async function listening(work: () => Promise<void>): Promise<string[]> {
  const said: string[] = [];
  const methods = ["log", "info", "warn", "error", "debug"] as const;
  const kept = methods.map((method) => console[method]);
  for (const method of methods) console[method] = (...values: unknown[]) => void said.push(values.join(" "));
  try {
    await work();
  } finally {
    methods.forEach((method, i) => console[method] = kept[i]!);
  }
  return said;
}

/** Arguments for a role. The policy's address has no server; weights are an empty file. */
function given(plugin: Plugin, dir: string, signal: AbortSignal): Given {
  const [scenario, trajectory, { llm }] = [fakeScenario(), fakeTrajectory(), fakeJudgeArgs()];
  const { agent } = pipeline_schema.parse({ name: "conformance", stages: [{ use: "none" }] });
  const policy: Policy = {
    name: "base",
    version: 0,
    base_url: "http://127.0.0.1:9/v1",
    model: "none",
    tokens: "none",
    rollout_handles: false,
    tool_format: "json",
    context_tokens: 4096,
    sampling: { temperature: 1, top_p: 1, max_tokens: 16 },
  };
  const unknown: CallResult = { outcome: "unknown_tool", text: "no such tool", result: null, seconds: 0 };
  const none = () => Promise.resolve(unknown);
  const environment: Environment = { id: "e1", workdir: dir, tools: [], call: none, observe: none };
  const catalog: Catalog = { servers: [], tools: [], schema_hash: "none" };
  const shown: Agent = { ...agent, examples: [] };
  const weights = async ({ dir }: { dir: string }) => {
    await Deno.mkdir(dir, { recursive: true });
    await Deno.writeTextFile(`${dir}/adapter_model.safetensors`, "");
    return { changed_tensors: 0 };
  };
  const [export_dir, model, verdict] = [`${dir}/export`, { id: "none" }, fakeVerdict()];
  return {
    plugin,
    scenario,
    trajectory,
    catalog,
    signal,
    llm,
    rollout: { rollout_id: "r1", scenario, policy, environment, agent: shown, seed: 1, signal },
    export: { dir: export_dir, policy, agent: shown, catalog, verdict, model, weights, signal },
    source: fakeSourceTools({ signal, llm }),
  };
}

function fakeVerdict(): Verdict {
  return {
    schema: "verdict.v1",
    run_id: "none",
    run: "conformance",
    split: "heldout",
    sampling: "greedy",
    scenarios: 0,
    tries: 1,
    policies: {},
    comparisons: [],
    difference: null,
    outcome: "not_measured",
    needed_scenarios: null,
    by_tag: [],
    by_tools: [],
    worse: [],
    sentence: "Nothing was measured.",
    notes: [],
  };
}
