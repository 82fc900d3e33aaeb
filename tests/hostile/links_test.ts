/** Servers that plant links, replace their folder, nest without end, and race with hone while it works there. @module */
import assert from "node:assert/strict";
import type { Json, Judgement } from "../../pipeline/events.ts";
import type { Lease } from "../../pipeline/mcp/pool/pool.ts";
import { fakeContext, fakeJudgeArgs, fakeTrajectory } from "../../pipeline/testing.ts";
import state, { type Check } from "../../plugins/judge/state.ts";
import { scenario } from "../fixtures/test_pool.ts";
import { hostile, hostilePool, REPEAT, run, victim } from "./hostile_pool.ts";

const RESETS = ["restart", "workdir"] as const;

const EMPTY = { tree: {}, calls: [], truncated: false };

/** What judge/state observes of an environment that was empty before, or as given, as it is stored. */
async function observed(lease: Lease, checks: Check[], before: Json = EMPTY): Promise<Json> {
  const role = await state.create(fakeContext(state.config.parse({})));
  return JSON.parse(JSON.stringify(await role.observe!(lease, scenario({ checks }), checks, before)));
}

/** What it observes before the agent acts. */
async function observedBefore(lease: Lease, checks: Check[]): Promise<Json> {
  const role = await state.create(fakeContext(state.config.parse({})));
  return JSON.parse(JSON.stringify(await role.observeBefore!(lease, scenario({ checks }), checks)));
}

async function judged(observation: Json, checks: Check[]): Promise<Judgement> {
  const role = await state.create(fakeContext(state.config.parse({})));
  const group = [fakeTrajectory({ observations: { test: observation } })];
  return (await role.judge(fakeJudgeArgs({ group, expected: checks })))[0]!;
}

/** Python that swaps files and folders for links to a folder, as fast as it can. */
function racer(to: string): string {
  return `import os
def attempt(f, *a):
  try: f(*a)
  except OSError: pass
while True:
  for name in ('precious.txt', 'a', 'd/precious.txt', 'd/e/precious.txt'):
    attempt(os.unlink, name); attempt(os.symlink, '${to}/precious.txt', name)
  for name in ('d', 'd/e'):
    attempt(os.rename, name, name + str(os.getpid())); attempt(os.symlink, '${to}', name)
    attempt(os.unlink, name); attempt(os.rename, name + str(os.getpid()), name)`;
}

for (const reset of RESETS) {
  Deno.test(`setup, fixture and clean-up never follow a link that a server planted (reset: ${reset})`, async () => {
    await using outside = await victim();
    const fixture = await Deno.makeTempDir();
    await Deno.mkdir(`${fixture}/box`);
    await Deno.writeTextFile(`${fixture}/box/precious.txt`, "of the fixture");
    await using made = await hostilePool({ it: hostile({ reset, fixture }) });
    const setup = { files: { "precious.txt": "of the setup", "new/precious.txt": "too" }, directories: ["dir"] };
    for (let again = 0; again < 3; again++) {
      const lease = await made.lease({ setup });
      assert.equal(await Deno.readTextFile(`${lease.workdir}/box/precious.txt`), "of the fixture");
      assert.equal(await Deno.readTextFile(`${lease.workdir}/new/precious.txt`), "too");
      const at = outside.path;
      await run(lease, `rm -rf box new dir *.txt; ln -s ${at} box; ln -s ${at} new; ln -s ${at} dir; ln -s ${at} also`);
      await run(
        lease,
        `ln -s ${at}/precious.txt precious.txt; ln ${at}/precious.txt hard.txt; mkdir in; ln -s ${at} in/x`,
      );
      await run(lease, `rm -rf "$HOME"/* "$TMPDIR"/*; ln -s ${at} "$HOME/l"; ln -s ${at} "$TMPDIR/l"`);
      await lease.release();
    }
    await (await made.lease({ setup })).release();
    await outside.assertWhole();
    await Deno.remove(fixture, { recursive: true });
  });

  Deno.test(`a link that appears while hone fills or empties the folder is not followed (reset: ${reset})`, async () => {
    await using outside = await victim();
    await using made = await hostilePool({ it: hostile({ reset }, `python3 -c "${racer(outside.path)}"`) });
    const names = ["a", "d/precious.txt", "d/e/precious.txt", "precious.txt"];
    const many = Array.from({ length: 40 }, (_, i) => `d/${i}`);
    const files = Object.fromEntries([...names, ...many].map((name) => [name, "from the setup"]));
    for (let again = 0; again < REPEAT; again++) {
      // The race may well make the setup fail: what counts is that nothing else is touched.
      const lease = await made.lease({ setup: { files } }).catch(() => null);
      if (lease) await observed(lease, [{ file: "precious.txt" }]).catch(() => null);
      await lease?.release();
      await outside.assertWhole(`try ${again}`);
    }
  });

  Deno.test(`a folder that was replaced is noticed, by a link or by another folder (reset: ${reset})`, async () => {
    await using outside = await victim();
    const warned: string[] = [];
    const log = { debug() {}, info() {}, warn: (line: string) => void warned.push(line) };
    await using made = await hostilePool({ it: hostile({ reset }) }, { log });
    const copy = `${outside.path}-copy`;
    for (const put of [`ln -s ${outside.path} "$W"`, `cp -r ${outside.path} ${copy}; mv ${copy} "$W"`, ":"]) {
      const lease = await made.lease();
      await run(lease, `W=$PWD; cd ..; mv "$W" gone; ${put}`);
      const checks: Check[] = [{ file: "precious.txt" }];
      const message = `Folder "${lease.workdir}" is not the one that hone made: a server removed or replaced it`;
      await assert.rejects(observed(lease, checks), { code: "FOLDER_REPLACED", message });
      await lease.release();
      const next = await made.lease({ setup: { files: { "a.txt": "a" } } });
      assert.equal(await run(next, "ls"), "a.txt\n");
      await outside.assertWhole();
      await next.release();
    }
    assert.equal(warned.filter((line) => line.includes("is not the one that hone made")).length, 3);
  });
}

Deno.test("links, special files and odd names are observed and judged as what they are", async () => {
  await using outside = await victim();
  await using made = await hostilePool({ it: hostile() });
  const lease = await made.lease();
  await run(lease, `ln -s ${outside.path}/precious.txt link.txt; ln -s ${outside.path} dir; mkfifo pipe; mkdir real`);
  await run(
    lease,
    "printf x > constructor; printf y > __proto__; mkdir -p real/__proto__; printf z > real/__proto__/a",
  );
  const names = ["link.txt", "dir", "pipe", "constructor", "__proto__", "real/__proto__/a", "toString"];
  const checks: Check[] = names.map((file) => ({ file }));
  const observation = await observed(lease, checks) as { tree: object; was: object };
  assert.deepEqual(Object.entries(observation.tree), [
    ["__proto__", "y"],
    ["constructor", "x"],
    ["dir", { link: outside.path }],
    ["link.txt", { link: `${outside.path}/precious.txt` }],
    ["pipe", { special: true }],
    ["real", { directory: true }],
    ["real/__proto__", { directory: true }],
    ["real/__proto__/a", "z"],
  ]);
  assert.equal(Object.keys(observation.was).length, 8);
  const found = await Promise.all(checks.map(async (check) => (await judged(observation as unknown as Json, [check]))));
  const reasons = found.map((one) => "score" in one ? [one.score, one.reason] : one);
  assert.deepEqual(reasons, [
    [0, '"link.txt" is a symbolic link'],
    [0, '"dir" is a symbolic link'],
    [0, '"pipe" is a pipe, socket or device'],
    [1, "every check passes"],
    [1, "every check passes"],
    [1, "every check passes"],
    [0, 'there is no file "toString"'],
  ]);
  const link = await judged(observation as unknown as Json, [{ directory: "dir" }]);
  assert.deepEqual("score" in link && [link.score, link.reason], [0, '"dir" is a symbolic link']);
});

Deno.test("a setup may use odd names, and what it put there is no change", async () => {
  await using made = await hostilePool({ it: hostile() });
  const files = JSON.parse('{"__proto__": "a", "constructor": "b", "deep/__proto__/toString": "c"}');
  const lease = await made.lease({ setup: { files } });
  assert.equal(await run(lease, "cat __proto__ constructor deep/__proto__/toString"), "abc");
  const checks: Check[] = [{ file: "constructor" }];
  const before = await observedBefore(lease, checks);
  const observation = await observed(lease, checks, before) as { was: object };
  assert.deepEqual(Object.entries(observation.was), []);
});

Deno.test("a server finds the scenario's files and the fixture when it starts, also one that was started ahead", async () => {
  const fixture = await Deno.makeTempDir();
  await Deno.writeTextFile(`${fixture}/given.txt`, "given");
  const { args } = hostile() as { args: string[] };
  const look = ["-c", 'ls >"$HOME/at_start"; exec "$@"', "sh", "deno", ...args];
  await using made = await hostilePool({ it: hostile({ command: "sh", args: look, fixture }) });
  await made.pool.warm(1);
  for (const name of ["one.txt", "two.txt", "three.txt"]) {
    const lease = await made.lease({ setup: { files: { [name]: "" } } });
    assert.equal(await run(lease, 'cat "$HOME/at_start"'), ["given.txt", name].sort().join("\n") + "\n");
    await lease.release();
  }
  const plain = await made.lease();
  assert.equal(await run(plain, 'cat "$HOME/at_start"'), "given.txt\n");
  await plain.release();
  await Deno.remove(fixture, { recursive: true });
});

for (const reset of RESETS) {
  Deno.test(`folders nested without end, names that are not text and locked folders are cleared (reset: ${reset})`, async () => {
    await using made = await hostilePool({ it: hostile({ reset, call_timeout_secs: 120 }) });
    const lease = await made.lease();
    const nest = `python3 -c "import os
for i in range(${Math.min(400 * REPEAT, 4000)}):
  os.mkdir('d'); os.chdir('d'); i % 20 or os.mkdir('e')"`;
    await run(lease, nest);
    await run(
      lease,
      "mkdir -p locked/in; printf x > locked/in/f; chmod 0 locked/in locked; mkdir $(printf 'b\\377ad'); touch $(printf '\\377')",
    );
    await assert.rejects(observed(lease, []), { code: "FOLDER_TOO_DEEP" });
    await lease.release();
    const next = await made.lease();
    assert.equal(await run(next, "ls -A"), "");
    await next.release();
  });
}

Deno.test("a file without end is not read without end, and a pipe is not waited for", async () => {
  await using made = await hostilePool({ it: hostile() });
  const lease = await made.lease();
  await run(lease, "truncate -s 3T huge; mkfifo pipe");
  await assert.rejects(observed(lease, [{ file: "huge" }]), { code: "FOLDER_TOO_LARGE" });
  await lease.release();
});

Deno.test("a server that keeps writing is ended when its folder cannot be emptied", async () => {
  const fill = `mkdir -p "$RANDOM$$/a/b"; touch f$$-$RANDOM; mkdir -p x/y/z`;
  await using made = await hostilePool({ it: hostile({ reset: "workdir" }, `{ ${fill}; } 2>/dev/null`) });
  for (let again = 0; again < REPEAT; again++) {
    const lease = await made.lease();
    await lease.release();
  }
});
