/**
 * What every plugin must pass: `conformance(plugin)` registers the tests, and is the first line of a plugin's own test
 * file. `fakeContext`, `fakeScenario` and `fakeTrajectory` make what roles receive.
 * @module
 */
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { jsonSchema } from "./config/issues.ts";
import { KINDS } from "./loader.ts";
import type { Scenario, Trajectory } from "./events.ts";
import type { Context, Kind, Plugin } from "./plugin.ts";

const METHODS: Record<Kind, string[]> = {
  discoverer: ["discover"],
  "scenario-source": ["produce"],
  rollout: ["run"],
  judge: ["judge"],
  "reward-shaper": ["shape"],
  trainer: ["open"],
  exporter: ["export"],
};

/** A context for `create`; `lines` are what the plugin logs. `base_dir` is the machine's temporary folder. */
export function fakeContext<C>(config: C, given: Partial<Context<C>> = {}): Context<C> & { lines: string[] } {
  const lines: string[] = [];
  const write = (level: string) => (message: string) => void lines.push(`${level}: ${message}`);
  const log = { debug: write("debug"), info: write("info"), warn: write("warn") };
  const signal = new AbortController().signal;
  return { config, stage: "test", log, signal, base_dir: tmpdir(), ...given, lines };
}

/** A scenario with nothing but a task; `given` fills in what a test needs. */
export function fakeScenario(given: Partial<Scenario> = {}): Scenario {
  return { id: "one", task: "Write hi to a.txt.", split: "train", tags: [], checks: [], ...given };
}

/** A finished rollout without turns; `given` fills in what a test needs. */
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
    step: 0,
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

/** Registers the tests that every plugin must pass. */
export function conformance(plugin: Plugin): void {
  const name = `conformance() accepts ${plugin.kind}/${plugin.name}`;
  Deno.test(`${name}: kind, name and summary`, () => checkForm(plugin));
  Deno.test(`${name}: every field is described and has a default or an example`, () => {
    assert.deepEqual(undescribed(jsonSchema(plugin.config)), []);
  });
  Deno.test(`${name}: examples parse, and read back as they are`, () => checkExamples(plugin));
  Deno.test(`${name}: create touches nothing, says nothing, gives the role and disposes`, () => checkCreate(plugin));
  Deno.test(`${name}: create honours an aborted signal`, () => checkAborted(plugin));
}

function checkForm({ kind, name, summary }: Plugin): void {
  assert.ok(KINDS.includes(kind), `kind ${kind} is none of ${KINDS.join(", ")}`);
  assert.match(name, /^[a-z][a-z0-9_-]*$/, "a name is lower case letters, digits, - or _");
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
  assert.ok(examples.length > 0, "a plugin shows at least one example");
  for (const example of examples) {
    const parsed = await config.safeParseAsync(example.with);
    assert.ok(parsed.success, `example ${JSON.stringify(example.title)} does not parse: ${parsed.error}`);
    assert.deepEqual(
      await config.parseAsync(parsed.data),
      parsed.data,
      "a run's own record of its settings parses again",
    );
  }
}

async function checkCreate(plugin: Plugin): Promise<void> {
  for (const example of plugin.examples) {
    const said = await listening(async () => {
      const role = await plugin.create(fakeContext(await plugin.config.parseAsync(example.with)));
      for (const method of METHODS[plugin.kind]) {
        assert.equal(typeof (role as Record<string, unknown>)[method], "function", `the role has no ${method}()`);
      }
      if (plugin.kind === "judge") checkJudge(role as { scale?: unknown; decisive?: unknown });
      await role[Symbol.asyncDispose]?.();
    });
    assert.deepEqual(said, [], "a plugin writes to its log, not to the console");
  }
}

function checkJudge({ scale, decisive }: { scale?: unknown; decisive?: unknown }): void {
  assert.ok(scale === "absolute" || scale === "relative", "a judge's scale is absolute or relative");
  assert.equal(typeof decisive, "boolean", "a judge says whether it is decisive");
}

/** With an aborted signal, `create` throws or gives a role that can be disposed; it never hangs. */
async function checkAborted(plugin: Plugin): Promise<void> {
  const config = await plugin.config.parseAsync(plugin.examples[0]!.with);
  const context = fakeContext(config, { signal: AbortSignal.abort(new Error("the run was cancelled")) });
  try {
    const role = await plugin.create(context);
    await role[Symbol.asyncDispose]?.();
  } catch (error) {
    assert.ok(error instanceof Error, "what a plugin throws is an Error");
  }
}

/** Runs `work` and returns what reached the console meanwhile. */
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
