/** Servers that leave processes behind: in the background, in sessions of their own, orphaned, deaf to signals. @module */
import assert from "node:assert/strict";

const PROGRAM = new URL("./leave_daemons.ts", import.meta.url).pathname;
const LINUX = Deno.build.os === "linux";
/** Without its control groups a machine has marks only. */
const HIDE_GROUPS =
  'for at in $(awk \'$3 == "cgroup2" { print $2 }\' /proc/mounts); do umount -l "$at"; done; exec "$@"';

function alive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

/** Those that still live after a while. */
async function left(pids: number[]): Promise<number[]> {
  for (let tries = 0; tries < 200 && pids.some(alive); tries++) await new Promise((go) => setTimeout(go, 25));
  return pids.filter(alive);
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let text = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (text + chunk).split("\n");
    text = lines.pop()!;
    yield* lines;
  }
}

async function leaveDaemons(reset: string, groups: boolean, end: (child: Deno.ChildProcess) => void | Promise<void>) {
  const TMPDIR = await Deno.makeTempDir();
  const deno = [Deno.execPath(), "run", "-A", "--no-check", PROGRAM, reset];
  const [command, ...args] = groups ? deno : ["unshare", "-m", "sh", "-c", HIDE_GROUPS, "sh", ...deno];
  const start = () => {
    const options = { args, env: { TMPDIR }, stdin: "piped", stdout: "piped" } as const;
    const child = new Deno.Command(command!, options).spawn();
    const lines = linesOf(child.stdout);
    return { child, lines, first: lines.next() };
  };
  let started = start();
  if ((await started.first).done) {
    // Seen once in some hundred starts on a busy machine, without a word of the program's.
    console.error("the program ended before it said anything, and is started again", await started.child.status);
    started = start();
  }
  const { child, lines, first } = started;
  const told = JSON.parse((await first).value!);
  const { finder, daemons: [ended, kept], servers: [one, two], now, beside } = told;
  if (!groups) assert.equal(finder, "marks");
  assert.deepEqual([ended.length, kept.length], finder === "control groups" ? [5, 5] : [4, 4]);
  assert.deepEqual(await left(ended), [], "a reset ends what the rollout left behind");
  assert.deepEqual(kept.filter((pid: number) => !alive(pid)), [], "and nothing of another rollout's");
  assert.equal(now === one, reset === "workdir");
  assert(beside >= 1, "a helper that is still below its server stays");
  const last: number[] = JSON.parse((await lines.next()).value!);
  assert(last.every(alive));
  assert.equal((await lines.next()).value, "reaper killed");
  await end(child);
  await child.status;
  await lines.return(undefined);
  assert.deepEqual(await left([...kept, ...last, one, two, now]), [], "nothing outlives hone");
  await Deno.remove(TMPDIR, { recursive: true });
}

const ENDS: Record<string, (child: Deno.ChildProcess) => void | Promise<void>> = {
  "its pool is closed": (child) => child.stdin.close(),
  "it is killed": async (child) => {
    child.kill("SIGKILL");
    await child.stdin.close().catch(() => {});
  },
};

const unshared = LINUX &&
  new Deno.Command("sh", { args: ["-c", "unshare -m true"], stdout: "null", stderr: "null" }).outputSync().success;

for (const reset of ["restart", "workdir"]) {
  for (const [how, end] of Object.entries(ENDS)) {
    Deno.test({
      name: `daemons end with the rollout that left them, and with hone when ${how} (reset: ${reset})`,
      ignore: !LINUX,
      fn: () => leaveDaemons(reset, true, end),
    });
    Deno.test({
      name: `daemons are found by their marks where there are no control groups, when ${how} (reset: ${reset})`,
      ignore: !unshared,
      fn: () => leaveDaemons(reset, false, end),
    });
  }
}
