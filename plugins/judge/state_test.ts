import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { CallResult, Environment, JsonObject, Judgement, Scenario } from "@hone/hone";
import { conformance, fakeContext, fakeJudgeArgs, fakeTrajectory } from "@hone/hone/testing";
import plugin, { type Check } from "./state.ts";

conformance(plugin);

type Files = Record<string, string | Uint8Array>;

async function fill(root: string, files: Files) {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    if (path.endsWith("/")) await mkdir(join(root, path), { recursive: true });
    else await writeFile(join(root, path), content);
  }
}

const NOTHING: CallResult = { outcome: "denied", text: "not known to be read-only", result: null, seconds: 0 };

/**
 * Judges a folder that holds `after`, in which the agent found `before` and a fixture; calls that may be made before
 * it acts answer as in `earlier`.
 */
async function judge(
  { checks, before = {}, after = {}, fixture = {}, answers = {}, earlier = {}, settings = {}, scenario = {} }: {
    checks: Check[];
    before?: Record<string, string>;
    after?: Files;
    fixture?: Files;
    answers?: Record<string, CallResult>;
    earlier?: Record<string, CallResult>;
    settings?: JsonObject;
    scenario?: Partial<Scenario>;
  },
): Promise<Judgement> {
  const root = await mkdtemp(join(tmpdir(), "hone-state-"));
  try {
    const work = join(root, "work");
    const refill = async (...all: Files[]) => {
      await rm(work, { recursive: true, force: true });
      await mkdir(work);
      for (const files of all) await fill(work, files);
    };
    const role = await plugin.create(fakeContext(plugin.config.parse(settings)));
    const whole: Scenario = {
      id: "s1",
      task: "t",
      split: "train",
      tags: [],
      checks,
      setup: { files: before },
      ...scenario,
    };
    const environment: Environment = {
      id: "e",
      workdir: work,
      tools: [],
      call: () => Promise.reject(new Error("a judge only observes")),
      observe: ({ tool }, { read_only = false } = {}) =>
        Promise.resolve(read_only ? earlier[tool] ?? NOTHING : answers[tool]!),
    };
    await refill(fixture, before);
    const seen = await role.observeBefore!(environment, whole, checks);
    await refill(after);
    const observation = JSON.parse(JSON.stringify(await role.observe!(environment, whole, checks, seen)));
    const group = [fakeTrajectory({ observations: { test: observation } })];
    return (await role.judge(fakeJudgeArgs({ group, scenario: whole, expected: checks })))[0]!;
  } finally {
    await rm(root, { recursive: true });
  }
}

function score(verdict: Judgement): number {
  assert.ok("score" in verdict, JSON.stringify(verdict));
  return Math.round(verdict.score * 1000) / 1000;
}

const MOVE: Check[] = [{ absent: "a.txt" }, { file: "box/a.txt", equals: "maple" }];

Deno.test("judge() scores 1 for the right end state, whatever newline ends the text", async () => {
  const before = { "a.txt": "maple\n" };
  const verdict = await judge({ checks: MOVE, before, after: { "box/a.txt": "maple\n" } });
  assert.deepEqual(verdict, { score: 1, reason: "every check passes", parts: { checks: 2, held: 2, stray: 0 } });
  assert.equal(score(await judge({ checks: [{ file: "a.txt", equals: "maple\n" }], after: { "a.txt": "maple" } })), 1);
  assert.equal(
    score(await judge({ checks: [{ file: "a.txt", equals: "maple" }], after: { "a.txt": "maple\n\n" } })),
    0.2,
  );
});

Deno.test("judge() scores 0 for doing nothing, also where something holds from the start", async () => {
  const before = { "a.txt": "maple" };
  assert.equal(score(await judge({ checks: MOVE, before, after: before })), 0);
  const copy: Check[] = [{ file: "a.txt", equals: "maple" }, { file: "b.txt", equals: "maple" }];
  const verdict = await judge({ checks: copy, before, after: before });
  assert.deepEqual(verdict, { score: 0, reason: 'there is no file "b.txt"', parts: { checks: 2, held: 1, stray: 0 } });
});

Deno.test("judge() gives a share of `partial` for what is right of the changes", async () => {
  const before = { "a.txt": "maple" };
  // gone from its place (1), not in the right one (0), a file in a wrong one and its folder (0, 0)
  assert.equal(score(await judge({ checks: MOVE, before, after: { "bin/a.txt": "maple" } })), 0.1);
  // the right path with the wrong word is half right
  const verdict = await judge({ checks: [{ file: "b.txt", equals: "maple" }], after: { "b.txt": "oak" } });
  assert.deepEqual(verdict, {
    score: 0.2,
    reason: '"b.txt" is "oak": expected "maple"',
    parts: { checks: 1, held: 0, stray: 0 },
  });
  // what held and was broken counts against it
  const kept: Check[] = [{ file: "a.txt" }, { file: "b.txt" }];
  assert.equal(score(await judge({ checks: kept, before, after: { "b.txt": "" } })), 0);
});

Deno.test("judge() forgives stray changes unless it is strict", async () => {
  const after = { "a.txt": "maple", "junk.txt": "x" };
  const checks: Check[] = [{ file: "a.txt", equals: "maple" }];
  assert.equal(score(await judge({ checks, after })), 1);
  const strict = await judge({ checks, after, settings: { strict: true } });
  assert.deepEqual(strict, {
    score: 0.2,
    reason: '"junk.txt" was changed, and no check names it',
    parts: { checks: 1, held: 1, stray: 1 },
  });
});

Deno.test("judge() knows fixture, setup and the folders of named files as no stray changes", async () => {
  const verdict = await judge({
    checks: [{ file: "x/y/z.txt" }],
    fixture: { "readme.txt": "hi" },
    before: { "docs/a.txt": "1" },
    after: { "readme.txt": "hi", "docs/a.txt": "1", "x/y/z.txt": "" },
    settings: { strict: true },
  });
  assert.equal(score(verdict), 1);
});

Deno.test("judge() reads every kind of check", async () => {
  const after = {
    "n.json": '{"b": [1, 2.001], "a": null}',
    "t.txt": "the quick fox",
    "docs/": "",
    "bin.dat": new Uint8Array([0xff, 0]),
  };
  const holds: Check[] = [
    { file: "./n.json", equals: { a: null, b: [1, 2] }, tolerance: 0.01 },
    { file: "t.txt", contains: "quick" },
    { file: "t.txt", matches: "^the .* fox$" },
    { directory: "docs/" },
    { absent: "gone.txt" },
    { file: "bin.dat" },
  ];
  assert.equal(score(await judge({ checks: holds, after })), 1);
  const reasons: [Check, string][] = [
    [{ file: "n.json", equals: { a: 0 } }, '"n.json" is "{\\"b\\": [1, 2.001], \\"a\\": null}": expected {"a":0}'],
    [{ file: "t.txt", contains: "slow" }, '"t.txt" is "the quick fox": expected text that contains "slow"'],
    [{ file: "t.txt", matches: "^fox" }, '"t.txt" is "the quick fox": expected text that matches /^fox/'],
    [{ directory: "t.txt" }, 'there is no folder "t.txt"'],
    [{ file: "docs" }, 'there is no file "docs"'],
    [{ absent: "docs" }, '"docs" is still there'],
    [{ file: "bin.dat", contains: "x" }, '"bin.dat" is too large or not text'],
  ];
  for (const [check, reason] of reasons) {
    const verdict = await judge({ checks: [check], after });
    assert.equal("reason" in verdict && verdict.reason, reason);
  }
});

Deno.test("judge() reads tool answers as text, as structure and at a path", async () => {
  const answer = (text: string, structuredContent?: JsonObject): CallResult => ({
    outcome: "ok",
    text,
    result: { structuredContent: structuredContent ?? null },
    seconds: 0,
  });
  const answers = {
    count: answer("3"),
    rows: answer("…", { items: [{ name: "Ann" }] }),
    json: answer('{"a": {"b": true}}'),
    broken: { outcome: "tool_error" as const, text: "no table", result: null, seconds: 0 },
  };
  const call = (tool: string) => ({ tool, arguments: {} });
  const holds: Check[] = [
    { call: call("count"), equals: 3 },
    { call: call("rows"), path: "items.0.name", equals: "Ann" },
    { call: call("json"), path: "a.b", equals: true },
  ];
  assert.equal(score(await judge({ checks: holds, answers })), 1);
  const broken = await judge({ checks: [{ call: call("broken"), contains: "x" }], answers });
  assert.equal("reason" in broken && broken.reason, 'broken failed: "no table"');
  const late = { outcome: "timeout" as const, text: "no answer within 1 s", result: null, seconds: 1 };
  assert.deepEqual(await judge({ checks: [{ call: call("late"), contains: "x" }], answers: { late } }), {
    invalid: 'the end state was not observed (timeout: "no answer within 1 s")',
  });
  const lost = await judge({ checks: [{ call: call("rows"), path: "items.1.name", equals: "Ann" }], answers });
  assert.equal("reason" in lost && lost.reason, "rows answered nothing at items.1.name");
});

Deno.test("judge() is invalid where it saw nothing or too much, and abstains where nothing is to be seen", async () => {
  const role = await plugin.create(fakeContext(plugin.config.parse({})));
  assert.deepEqual(await role.judge(fakeJudgeArgs({ expected: MOVE })), [{
    invalid: "the end state was not observed",
  }]);
  assert.deepEqual(await role.judge(fakeJudgeArgs()), [{ abstain: "the scenario has no checks" }]);
  const many = await judge({ checks: MOVE, after: { a: "", b: "", c: "" }, settings: { max_files: 2 } });
  assert.deepEqual(many, { invalid: "the rollout's folder has more than 2 files" });
});

const seen = (text: string): CallResult => ({ outcome: "ok", text, result: null, seconds: 0 });

Deno.test("judge() gives nothing for a check that passed before the agent acted, or that was nearer to passing then", async () => {
  const has = (tool: string, contains: string): Check => ({ call: { tool, arguments: {} }, contains });
  const checks = [has("notes", "Ada"), has("notes", "Bob"), has("other", "x")];
  const idle = { notes: seen("Ada"), other: seen("y") };
  assert.equal(score(await judge({ checks, earlier: idle, answers: idle })), 0);
  // one of the two that did not pass before
  const answers = { notes: seen("Ada, Bob"), other: seen("y") };
  assert.equal(score(await judge({ checks, earlier: idle, answers })), 0.2);
  // a check that was broken cancels one that was gained
  assert.equal(score(await judge({ checks, earlier: idle, answers: { notes: seen("Bob"), other: seen("y") } })), 0);
  // a call that is not made before earns nothing by itself, and counts for success
  assert.equal(score(await judge({ checks, answers })), 0);
  assert.equal(score(await judge({ checks, answers: { notes: seen("Ada, Bob"), other: seen("x") } })), 1);
  const todo: Check[] = [{ file: "todo.txt", contains: "done" }, { file: "b.txt" }];
  const before = { "todo.txt": "open" };
  assert.equal(score(await judge({ checks: todo, before, after: before })), 0);
  assert.equal(score(await judge({ checks: todo, before, after: { "todo.txt": "shut" } })), 0);
  assert.equal(score(await judge({ checks: todo, before, after: { "todo.txt": "done" } })), 0.2);
  // the file is further from what it should be than before
  assert.equal(score(await judge({ checks: todo, before, after: { "b.txt": "" } })), 0.1);
});

Deno.test("judge() warns, once, where doing nothing solves a scenario", async () => {
  const context = fakeContext(plugin.config.parse({}));
  const role = await plugin.create(context);
  const checks: Check[] = [{ file: "a.txt" }];
  const observation = { tree: { "a.txt": "" }, was: {}, calls: [], calls_before: [], truncated: false };
  const group = [fakeTrajectory({ observations: { test: observation } })];
  for (const _ of [1, 2]) {
    const [verdict] = await role.judge(fakeJudgeArgs({ group, expected: checks }));
    assert.equal(score(verdict!), 1);
  }
  assert.deepEqual(context.lines, [
    'warn: every check of scenario "one" passes before the agent acts: doing nothing solves it',
  ]);
});

Deno.test("judge() is invalid, with the reason, where what it needs was not observed", async () => {
  const file: Check[] = [{ absent: "a.txt" }];
  const call: Check[] = [{ call: { tool: "notes", arguments: {} }, contains: "x" }];
  const whole = { tree: {}, was: {}, calls: [], calls_before: [], truncated: false };
  const answer = { outcome: "ok", text: "x", structured: null };
  const late = { ...answer, outcome: "timeout", text: "no answer" };
  const cases: [Check[], JsonObject, string, JsonObject?][] = [
    [file, {}, "the end state was not observed"],
    [file, { tree: {}, was: {} }, "the end state was not observed"],
    [file, { ...whole, tree: null }, "the end state was not observed (the rollout has no folder of its own)"],
    [file, { ...whole, was: null }, "the state before the agent acted was not observed"],
    [call, { ...whole, was: null, calls: [answer] }, "the state before the agent acted was not observed", {
      strict: true,
    }],
    [call, whole, "the end state was not observed (its checks made other calls then)"],
    [
      call,
      { ...whole, calls: [{ ...answer, call: "of another tool" }] },
      "the end state was not observed (its checks made other calls then)",
    ],
    [
      call,
      { ...whole, calls: [{ ...answer, outcome: "unknown_tool" }], calls_before: null },
      'the end state was not observed (unknown_tool: "x")',
    ],
    [
      call,
      { ...whole, calls: [answer], calls_before: [late] },
      'the state before the agent acted was not observed (timeout: "no answer")',
    ],
  ];
  for (const [expected, observation, invalid, settings = {}] of cases) {
    const role = await plugin.create(fakeContext(plugin.config.parse(settings)));
    const group = [fakeTrajectory({ observations: { test: observation } })];
    assert.deepEqual(await role.judge(fakeJudgeArgs({ group, expected })), [{ invalid }]);
  }
});

Deno.test("judge() reads observations of earlier versions of hone", async () => {
  const role = await plugin.create(fakeContext(plugin.config.parse({})));
  const expected: Check[] = [{ file: "b.txt", equals: "x" }, { call: { tool: "notes", arguments: {} }, contains: "x" }];
  const observation = {
    tree: { "b.txt": "x" },
    was: { "b.txt": null },
    calls: [{ outcome: "ok", text: "y", structured: null }],
    truncated: false,
  };
  const group = [fakeTrajectory({ observations: { test: observation } })];
  assert.equal(score((await role.judge(fakeJudgeArgs({ group, expected })))[0]!), 0.2);
});

Deno.test("judge() compares with the state before: unchanged and changed", async () => {
  const before = { "a.txt": "maple", "box/b.txt": "oak" };
  const checks: Check[] = [
    { file: "a.txt", changed: true },
    { directory: "box", unchanged: true },
    { call: { tool: "notes", arguments: {} }, unchanged: true },
    { call: { tool: "other", arguments: {} }, path: "n", changed: true },
  ];
  const json = (text: string) => ({ ...seen(text), result: { structuredContent: JSON.parse(text) } });
  const earlier = { notes: seen("x"), other: json('{"n": 1, "at": 1}') };
  const done = { notes: seen("x"), other: json('{"n": 2, "at": 2}') };
  const after = { ...before, "a.txt": "pine" };
  assert.equal(score(await judge({ checks, before, after, earlier, answers: done })), 1);
  const idle = await judge({ checks, before, after: before, earlier, answers: earlier });
  assert.deepEqual(idle, {
    score: 0,
    reason: '"a.txt" is as it was before',
    parts: { checks: 4, held: 2, stray: 0 },
  });
  const reasons = [];
  for (
    const [files, answers] of [
      [{ ...after, "box/c.txt": "" }, done],
      [after, { ...done, notes: seen("y") }],
      [after, { ...done, other: json('{"n": 1, "at": 2}') }],
    ] as const
  ) {
    const verdict = await judge({ checks, before, after: files, earlier, answers });
    reasons.push("reason" in verdict && verdict.reason);
  }
  assert.deepEqual(reasons, ['"box" was changed', "notes was changed", "other is as it was before"]);
  // What may not be called before cannot be compared.
  const unknown = await judge({ checks: [checks[2]!], answers: done });
  assert.deepEqual(unknown, {
    invalid: 'the state before the agent acted was not observed (denied: "not known to be read-only")',
  });
  const made = await judge({ checks: [{ file: "a.txt", changed: true }], after });
  assert.equal(score(made), 1);
});

Deno.test("judge() queries a database file, before and after", async () => {
  const file = async (...statements: string[]) => {
    const path = await Deno.makeTempFile();
    {
      using db = new DatabaseSync(path);
      db.exec(`CREATE TABLE t (name TEXT, n REAL); ${statements.join(";")}`);
    }
    const bytes = await Deno.readFile(path);
    await Deno.remove(path);
    return bytes;
  };
  const sql = (query: string) => ({ sql: { database: "shop.db", query } });
  const checks: Check[] = [
    { ...sql("SELECT n FROM t WHERE name = 'Ada'"), equals: 2.5, tolerance: 0.01 },
    { ...sql("SELECT name FROM t ORDER BY name"), path: "1.name", equals: "Bob" },
    { ...sql("SELECT count(*) FROM t"), changed: true },
  ];
  const [empty, filled] = [await file(), await file("INSERT INTO t VALUES ('Ada', 2.501), ('Bob', 1)")];
  const settings = { strict: true };
  assert.equal(
    score(await judge({ checks, fixture: { "shop.db": empty }, after: { "shop.db": filled }, settings })),
    1,
  );
  const none = await judge({ checks, after: {} });
  assert.deepEqual(none, {
    score: 0,
    reason: 'there is no database "shop.db"',
    parts: { checks: 3, held: 0, stray: 0 },
  });
  const untouched = await judge({ checks, fixture: { "shop.db": empty }, after: { "shop.db": empty } });
  assert.deepEqual(untouched, {
    score: 0,
    reason: 'the query of "shop.db" answered []: expected 2.5 ± 0.01',
    parts: { checks: 3, held: 0, stray: 0 },
  });
  const typo = await judge({ checks: [sql("SELEKT 1")], after: { "shop.db": filled } });
  assert.deepEqual(typo, {
    invalid: 'the end state was not observed (unseen: "the query cannot be read: near \\"SELEKT\\": syntax error")',
  });
});

Deno.test("a check's form is refused where it says too little or too much", () => {
  const problem = (check: unknown) =>
    plugin.expects!.schema.safeParse([check]).error?.issues.map(({ message }) => message);
  assert.deepEqual(problem({ file: "a", directory: "b" }), [
    "must have exactly one of file, absent, directory, call and sql",
  ]);
  assert.deepEqual(problem({ file: "a", equals: "x", unchanged: true }), [
    "must have an expected value, unchanged or changed, and not two of them",
  ]);
  assert.deepEqual(problem({ absent: "a", changed: true }), ["what is absent can be neither unchanged nor changed"]);
  assert.deepEqual(problem({ sql: { database: "../a.db", query: "SELECT 1" } }), [
    "must be a path below the rollout's own folder",
  ]);
});
