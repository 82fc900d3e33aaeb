/**
 * Payload checks of every event, cheap enough to run at each `publish`: the types of `EventMap` are written by hand,
 * and each check below must cover the same keys or it does not compile. Typed arrays are checked by type, not by
 * element.
 * @module
 */
import type { EventMap, EventName } from "../events.ts";

type Test = (value: unknown) => boolean;
type Shape<T> = { [K in keyof Required<T>]: Test };

const text: Test = (value) => typeof value === "string";
const number: Test = (value) => typeof value === "number" && Number.isFinite(value);
const bool: Test = (value) => typeof value === "boolean";
const list: Test = Array.isArray;
const object: Test = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const json: Test = (value) => value !== undefined && typeof value !== "function";
const maybe = (test: Test): Test => (value) => value === undefined || test(value);
const either = (...tests: Test[]): Test => (value) => tests.some((test) => test(value));
const nothing: Test = (value) => value === null;
const typed = (kind: typeof Int32Array | typeof Float32Array): Test => (value) => value instanceof kind;
const nested = <T>(shape: Shape<T>): Test => {
  const check = compile(shape as Record<string, Test>);
  return (value) => object(value) && check(value as Record<string, unknown>) === null;
};

const reference = {
  rollout_id: text,
  group_id: text,
  scenario_id: text,
  purpose: text,
  split: text,
  temperature: number,
  try: number,
  policy: text,
  policy_version: number,
  step: number,
  seed: number,
  attempt: number,
};

const group = {
  group_id: text,
  scenario_id: text,
  purpose: text,
  split: text,
  policy: text,
  policy_version: number,
  temperature: number,
  step: number,
  index: number,
  size: number,
};

const evaluation = { policy: text, policy_version: number, split: text, temperature: number };

const turn = nested<EventMap["turn.completed"]["turn"]>({
  type: text,
  index: number,
  input: list,
  shortened: maybe(list),
  tools: maybe(list),
  text,
  reasoning: maybe(text),
  tool_calls: list,
  invalid_call: maybe(text),
  prompt_token_ids: maybe(typed(Int32Array)),
  output_token_ids: maybe(typed(Int32Array)),
  logprobs: maybe(typed(Float32Array)),
  finish_reason: text,
  policy_version: maybe(number),
  prompt_tokens: number,
  output_tokens: number,
  seconds: number,
});

const call = nested<EventMap["tool.called"]["call"]>({
  type: text,
  turn: number,
  index: number,
  server: text,
  tool: text,
  arguments: json,
  outcome: text,
  text,
  result: json,
  truncated: bool,
  seconds: number,
});

const outcome = nested<EventMap["rollout.completed"]["outcome"]>({
  end: text,
  answer: either(text, nothing),
  cause: maybe(text),
});
const interval = nested<EventMap["evaluation.completed"]["success"]>({
  mean: number,
  low: number,
  high: number,
  n: number,
});

/** One shape per event. Unions are written as all of their keys, each optional where some member lacks it. */
type Shapes = { [K in EventName]: Record<keyof AllKeys<EventMap[K]>, Test> };
type AllKeys<T> = { [K in T extends unknown ? keyof T : never]: unknown };

const shapes: Shapes = {
  "run.started": {
    name: text,
    seed: number,
    hone_version: text,
    resumed: bool,
    machine: maybe(object),
    measured: maybe(list),
  },
  "catalog.discovered": { servers: list, tools: list, schema_hash: text },
  "catalog.changed": { found: text, changes: list, schema_hash: text, catalog: maybe(object) },
  "scenario.produced": {
    id: text,
    task: text,
    split: text,
    tags: list,
    difficulty: maybe((value) => text(value) || number(value)),
    setup: maybe(object),
    expect: maybe(object),
    checks: list,
    answer: maybe(object),
    calls: maybe(object),
    solution: maybe(object),
    tools: maybe(list),
  },
  "rejudging.requested": { run_id: text, evaluations: list },
  "scenarios.completed": { train: number, validation: number, heldout: number },
  "rung.started": { rung: text, total: number },
  "rung.completed": { rung: text, steps: number, checkpoint: text },
  "demonstrations.requested": { scenarios: number },
  "group.requested": group,
  "replacements.requested": { step: number, index: number, scenario_ids: list },
  "rollout.requested": reference,
  "turn.completed": { rollout_id: text, turn },
  "tool.called": { rollout_id: text, call },
  "observation.made": { rollout_id: text, judge: text, observation: json },
  "llm.called": {
    stage: text,
    api: text,
    model: text,
    key: text,
    cached: bool,
    outcome: text,
    prompt_tokens: number,
    output_tokens: number,
    seconds: number,
    tries: number,
    request: json,
    reply: json,
    usd: either(number, nothing),
  },
  "rollout.completed": { ...reference, outcome, seconds: number },
  "rollout.abandoned": { rollout_id: text, reason: text },
  "group.completed": { group_id: text, scenario_id: text, step: number, rollout_ids: list },
  "judgement.made": {
    rollout_id: text,
    group_id: text,
    judge: text,
    made_by: maybe(text),
    score: maybe(number),
    reason: maybe(text),
    parts: maybe(object),
    abstain: maybe(text),
    invalid: maybe(text),
  },
  "label.given": { rollout_id: text, score: number, reason: text, labelled_by: maybe(text) },
  "reward.shaped": {
    rollout_id: text,
    group_id: text,
    success: bool,
    made_by: maybe(text),
    value: maybe(number),
    parts: maybe(object),
    invalid: maybe(text),
  },
  "group.rewarded": { group_id: text, scenario_id: text, step: number, purpose: text },
  "batch.ready": {
    step: number,
    kind: text,
    path: text,
    rows: number,
    dropped: object,
    learning_rate: number,
    metrics: object,
    staleness: number,
    publish_as: maybe(object),
  },
  "train.stepped": {
    step: number,
    kind: text,
    loss: number,
    metrics: object,
    seconds: number,
    checkpoint: text,
    staleness: number,
  },
  "policy.requested": { name: text, version: number, checkpoint: text },
  "policy.published": { name: text, version: number, model: text, checkpoint: text },
  "dataset.ready": { train: text, validation: either(text, nothing), rows: number, grader: object },
  "job.submitted": { job_id: text, after_step: number },
  "prompt.proposed": { policy: text, system_prompt: text, examples: list, made_of: object },
  "evaluation.requested": { ...evaluation, scenarios: number, tries: number, ids: maybe(list) },
  "evaluation.completed": { ...evaluation, success: interval, seconds: number },
  "ladder.completed": { policy: text, checkpoint: text },
  "verdict.made": { sentence: text, policy: text, checkpoint: text },
  "export.completed": { exporter: text, dir: text, proof: object },
  "metric.recorded": { name: text, value: number, step: number, kind: maybe(text) },
  "stage.failed": { stage: text, code: text, message: text, hint: maybe(text) },
  "run.ended": { status: text, sentence: maybe(text) },
};

/** Returns the first key that is wrong, or null. */
type Check = (data: Record<string, unknown>) => string | null;

function compile(shape: Record<string, Test>): Check {
  const keys = Object.keys(shape);
  const tests = Object.values(shape);
  return (data) => {
    for (let i = 0; i < keys.length; i++) if (!tests[i]!(data[keys[i]!])) return keys[i]!;
    return null;
  };
}

const checks = Object.fromEntries(
  Object.entries(shapes).map(([type, shape]) => [type, compile(shape as Record<string, Test>)]),
) as Record<EventName, Check>;

/** Throws a TypeError that names the field when `data` is not a payload of `type`. */
export function checkPayload<K extends EventName>(type: K, data: EventMap[K]): void {
  const check = checks[type];
  if (!check) throw new TypeError(`Cannot publish ${JSON.stringify(type)}: no such event`);
  const wrong = check(data as Record<string, unknown>);
  if (wrong !== null) {
    const value = (data as Record<string, unknown>)[wrong];
    throw new TypeError(`Cannot publish ${type}: ${wrong} is ${describe(value)}, which is not of the event's shape`);
  }
}

function describe(value: unknown): string {
  try {
    return (JSON.stringify(value) ?? String(value)).slice(0, 80);
  } catch {
    return typeof value;
  }
}
