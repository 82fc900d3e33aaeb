import assert from "node:assert/strict";
import { join } from "node:path";
import type { Judgement } from "@hone/hone";
import { conformance, fakeContext, fakeJudgeArgs, fakeTrajectory, fakeTurn } from "@hone/hone/testing";
import plugin from "./exec.ts";

const ONES = `const { group } = JSON.parse(await new Response(Deno.stdin.readable).text());
  console.log(JSON.stringify(group.map(() => ({ score: 1, reason: "fine" }))));`;

conformance(plugin, { with: { command: [Deno.execPath(), "eval", ONES] } });

/** What the judge says when `code` is the program, started with a shell script beside it. */
async function judged(code: string, { timeout_secs = 20, signal = new AbortController().signal } = {}) {
  const base_dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(join(base_dir, "judge.sh"), `#!/bin/sh\n${code}\n`, { mode: 0o755 });
    const config = plugin.config.parse({ command: ["./judge.sh", "a b", "$HOME"], timeout_secs });
    const role = await plugin.create(fakeContext(config, { base_dir }));
    const turns = [fakeTurn({ output_token_ids: Int32Array.of(7) })];
    return await role.judge(fakeJudgeArgs({ group: [fakeTrajectory({ turns })], expected: { word: "hi" }, signal }));
  } finally {
    await Deno.remove(base_dir, { recursive: true });
  }
}

Deno.test("judge() gives the program one JSON document and takes its list", async () => {
  const made = await judged(`
    input=$(cat)
    case "$input" in *'"output_token_ids":[7]'*'"expected":{"word":"hi"}}') right=1;; *) right=0;; esac
    printf '[{"score": %s, "reason": "%s|%s|%s", "parts": {"words": 2}}]' "$right" "$1" "$2" "$(basename "$PWD" | cut -c1-0)"`);
  assert.deepEqual(made, [{ score: 1, reason: "a b|$HOME|", parts: { words: 2 } }] as Judgement[]);
});

Deno.test("judge() says why there is no judgement: prose, an exit code, too much, too late", async () => {
  const cases: [string, string][] = [
    ["echo fine", 'it wrote no JSON: "fine"'],
    ["exec true", 'it wrote no JSON: ""'],
    ["echo first >&2; echo 'no such table' >&2; exit 3", 'it ended with exit code 3; its last line: "no such table"'],
    ["kill -9 $$", "it ended with SIGKILL"],
    ["head -c 11000000 /dev/zero", "it wrote more than 10 MB"],
  ];
  for (const [code, message] of cases) await assert.rejects(judged(code), { message }, code);
  // What a program leaves running does not delay its answer.
  const left = 'sleep 300 & echo \'[{"abstain": "none"}]\'';
  assert.deepEqual(await judged(left), [{ abstain: "none" }]);
  await assert.rejects(judged("sleep 300 & exit 4"), { message: "it ended with exit code 4" });
  await assert.rejects(judged("sleep 60", { timeout_secs: 0.5 }), { message: "no answer within 0.5 s" });
});

Deno.test("judge() ends the program and what it started when the signal is aborted", async () => {
  const stop = new AbortController();
  const mark = await Deno.makeTempFile();
  try {
    const work = judged(`sleep 300 & echo $! > ${mark}; wait`, { signal: stop.signal });
    const refused = assert.rejects(work, { message: "cancelled" });
    while ((await Deno.readTextFile(mark)) === "") await new Promise((resolve) => setTimeout(resolve, 20));
    stop.abort(new Error("cancelled"));
    await refused;
    const pid = (await Deno.readTextFile(mark)).trim();
    const state = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => ") Z");
    assert.match(state, /\) Z/);
  } finally {
    await Deno.remove(mark);
  }
});

Deno.test("judge() lets no program see hone's environment", async () => {
  Deno.env.set("HONE_TEST_SECRET", "s3cr3t");
  try {
    const made = await judged(`cat > /dev/null; printf '[{"abstain": "%s"}]' "\${HONE_TEST_SECRET:-none}"`);
    assert.deepEqual(made, [{ abstain: "none" }]);
  } finally {
    Deno.env.delete("HONE_TEST_SECRET");
  }
});

Deno.test("a relative judge cannot be decisive", () => {
  const { error } = plugin.config.safeParse({ command: ["x"], decisive: true, scale: "relative" });
  assert.deepEqual(error?.issues.map(({ path, message }) => [path, message]), [
    [["decisive"], "must be false for relative scores"],
  ]);
});
