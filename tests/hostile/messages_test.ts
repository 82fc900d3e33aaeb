/**
 * Whatever a person gets wrong, or their machine lacks, the commands say what could not be done: never a stack, and
 * exit code 1 or 2. Each case is a command line of a process of its own in a folder of broken things.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmod, cp, mkdir, readFile, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Semaphore } from "../../pipeline/common/semaphore.ts";
import { liveRun } from "../fixtures/small_run.ts";
import { folder, ROOT } from "../runs/hone_process.ts";

interface Case {
  words: string[];
  /** In what is printed. */
  says: RegExp;
  env?: Record<string, string>;
  /** A shell command in which "$@" is the command line. */
  shell?: string;
  /** Default: 2. */
  code?: number;
}

const SERVER = ["--", "deno", "run", "-A", "--no-config", join(ROOT, "tests/fixtures/odd_server.ts")];
const STACK = /^\s+at .+:\d+:\d+/m;

const run = (set: string): string[] => ["run", "good.yaml", "--dry-run", "--set", set];

const FILES: Case[] = [
  { words: ["validate", "alias.yaml"], says: /alias\.yaml:2:9 error\[YAML_SYNTAX\]/ },
  { words: ["validate", "bomb.yaml"], says: /error\[YAML_SYNTAX\]/ },
  { words: ["validate", "cycle.yaml"], says: /error\[YAML_SYNTAX\]/ },
  { words: ["validate", "deep.yaml"], says: /error\[YAML_SYNTAX\] / },
  { words: ["validate", "binary.yaml"], says: /error\[/ },
  { words: ["validate", "empty"], says: /No pipeline in folder "empty"/ },
  { words: ["validate", "loop.yaml"], says: /its symbolic links form a loop/ },
  { words: ["validate", "alias.yaml", "--format", "json"], says: /"code": "YAML_SYNTAX"/ },
  { words: ["graph", "alias.yaml"], says: /error\[YAML_SYNTAX\]/ },
  { words: ["graph", "empty"], says: /error\[PIPELINE_IS_FOLDER\]/ },
  { words: ["discover", "--config", "alias.yaml"], says: /error\[YAML_SYNTAX\]/ },
  { words: ["discover", "--config", "deep.yaml"], says: /it is nested .*deep/ },
  { words: ["discover", "--config", "empty"], says: /Cannot read "empty": it is a folder/ },
  { words: ["discover", "--out", "nowhere/x.json", ...SERVER], says: /Cannot open "nowhere\/x.json": no such file/ },
  { words: ["discover", "--against", "empty", ...SERVER], says: /Cannot read "empty": it is a folder/ },
  { words: ["new", "judge", "polite", "--dir", "file"], says: /Cannot create folder ".*file": it already exists/ },
  { words: ["new", "judge", "polite", "--dir", "file/x"], says: /a part of the path is a file/ },
  { words: ["runs", "--dir", "file"], says: /Cannot list "file"/ },
  { words: ["list", "./throws.ts", "--yes"], says: /Cannot load plugin "\.\/throws\.ts": boom$/m },
  { words: ["foo"], says: /error\[UNKNOWN_VERB\]/ },
];

const SETTINGS: Case[] = [
  { words: run("a={"), says: /Cannot use "a=\{" for --set: Cannot read the YAML/ },
  { words: run("name=*x"), says: /Cannot use "name=\*x" for --set: / },
  { words: run("a.b"), says: /expected path=value/ },
  { words: run("a..b=1"), says: /expected path=value/ },
  { words: run("name.x=1"), says: /Cannot set "name\.x": name is "good", which has no such field/ },
  { words: run("stages.0.use.x=1"), says: /Cannot set .*: stages\[0\]\.use is "discoverer\/mcp"/ },
  { words: run("stages=1"), says: /stages is 1: expected a list/ },
  { words: run("__proto__.x=1"), says: /Unknown field "__proto__"/ },
  { words: run("servers=./empty"), says: /servers is "\.\/empty".*: it is a folder/ },
  { words: run("agent.system_prompt=./empty"), says: /agent\.system_prompt is "\.\/empty".*: it is a folder/ },
  { words: ["run", "good.yaml", "--yes", "--run-dir", "file"], says: /Cannot create folder ".*file"/ },
  {
    words: ["run", "good.yaml", "--yes", "--run-dir", "loop.yaml/x"],
    says: /loop\.yaml": it already exists, and is no folder/,
  },
  { words: ["run", "good.yaml", "--yes", "--run-dir", "x".repeat(300)], says: /the name is too long/ },
];

const RUNS: Case[] = [
  { words: ["report", "no_pipeline"], says: /Cannot read ".*pipeline\.yaml": no such file/ },
  { words: ["report", "broken_pipeline"], says: /pipeline\.yaml:\d+:1 error\[YAML_SYNTAX\]/ },
  { words: ["report", "odd_pipeline"], says: /name is 3: expected a string/ },
  { words: ["query", "truncated", "SELECT 1"], says: /error\[STORE_UNREADABLE\]/ },
  { words: ["query", "whole", "SELECT error('x')"], says: /error\[QUERY_FAILED\]/ },
  ...["broken_control", "silent", "closed", "long_locked"].flatMap((name): Case[] => [
    { words: ["query", name, "SELECT 1"], says: /error\[RUN_SILENT\].*: process \d+ / },
    { words: ["cancel", name], says: /error\[RUN_SILENT\].*: process \d+ / },
    { words: ["watch", name], says: /error\[RUN_SILENT\]/ },
  ]),
  { words: ["query", "just_locked", "SELECT 1"], says: /error\[RUN_STARTING\]/ },
  { words: ["resume", "no_pipeline", "--yes"], says: /complete: nothing left to do/, code: 0 },
  { words: ["evaluate", "no_pipeline", "--yes"], says: /error\[FILE_NOT_FOUND\]/ },
];

const MACHINE: Case[] = [
  {
    words: ["run", "good.yaml", "--yes"],
    env: { HONE_CACHE_DIR: "file" },
    says: /error\[SERVER_START_FAILED\]/,
    code: 1,
  },
  {
    words: ["discover", ...SERVER],
    env: { TMPDIR: "/nowhere" },
    says: /Cannot create a folder in "\/nowhere".*\n.*TMPDIR/,
  },
  {
    words: ["query", "whole", "FROM events"],
    shell: '"$@" >/dev/full',
    says: /Cannot write: no space left on the disk/,
  },
  { words: ["completion", "bash"], shell: '"$@" | head -1', says: /^_hone/, code: 0 },
  { words: ["validate", "alias.yaml"], shell: '"$@" 2>&- >&-', says: /^$/ },
  ...(Deno.build.os === "linux"
    ? ["validate noread.yaml", "run noread.yaml --yes", "runs --dir closed_folder", "new judge a --dir closed_folder"]
      .map((line): Case => ({
        words: line.split(" "),
        // Permissions do not bind root until it gives up that power.
        shell: Deno.uid() === 0 ? 'setpriv --bounding-set -dac_override,-dac_read_search "$@"' : '"$@"',
        says: /permission denied/,
      }))
    : []),
];

/** Start of this process as its lock would record it. */
async function startOfThis(): Promise<string | null> {
  const stat = await readFile("/proc/self/stat", "utf8").catch(() => null);
  return stat && stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]!;
}

async function brokenFiles(dir: string): Promise<void> {
  const level = (name: string, of: string) => `${name}: &${name} [${Array.from({ length: 9 }, () => of).join(", ")}]`;
  const files = {
    "alias.yaml": "name: a\nstages: *x\n",
    "bomb.yaml": [
      "name: a",
      level("a", "x"),
      ...["b", "c", "d", "e", "f", "g", "h", "i"].map((name, i) => level(name, `*${"abcdefgh"[i]}`)),
      "stages: *i",
    ].join("\n"),
    "cycle.yaml": "name: a\nstages: &a [*a]\n",
    "deep.yaml": `name: a\nstages: ${"[".repeat(20_000)}`,
    "binary.yaml": String.fromCharCode(...Array.from({ length: 500 }, (_, i) => i * 7 % 256)),
    "file": "text",
    "throws.ts": 'throw new Error("boom\\n    at fake.ts:1:2");',
    "tasks.yaml": "- { id: a, split: heldout, task: Go., answer: { equals: x } }\n",
    "good.yaml": `name: good
agent: { endpoint: { base_url: "http://127.0.0.1:9/v1", model: m } }
servers: { it: { command: deno, args: [run, nothing.ts] } }
stages:
  - use: discoverer/mcp
  - { use: scenario-source/file, with: { path: ./tasks.yaml } }
  - use: rollout/chat
  - use: judge/answer
  - use: reward-shaper/weighted
`,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(dir, name), text);
  await cp(join(dir, "good.yaml"), join(dir, "noread.yaml"));
  await mkdir(join(dir, "empty"));
  await mkdir(join(dir, "closed_folder"));
  for (const name of ["noread.yaml", "closed_folder"]) await chmod(join(dir, name), 0);
  await symlink("loop.yaml", join(dir, "loop.yaml"));
}

/** Folders of a finished run, each with something broken; `port` is of a listener that never answers. */
async function brokenRuns(dir: string, port: number): Promise<void> {
  const { run_dir, end } = await liveRun(dir, "whole");
  await end("completed");
  await writeFile(join(run_dir, "pipeline.yaml"), "name: whole\nseed: 1\n");
  const copy = async (name: string, files: Record<string, string> = {}) => {
    await cp(run_dir, join(dir, name), { recursive: true });
    for (const [file, text] of Object.entries(files)) await writeFile(join(dir, name, file), text);
  };
  const lock = JSON.stringify({ pid: Deno.pid, started: await startOfThis() });
  await copy("no_pipeline");
  await Deno.remove(join(dir, "no_pipeline", "pipeline.yaml"));
  await copy("broken_pipeline", { "pipeline.yaml": "name: [\n" });
  await copy("odd_pipeline", { "pipeline.yaml": "name: 3\n" });
  await copy("truncated");
  await Deno.truncate(join(dir, "truncated", "run.duckdb"), 20_000);
  await copy("broken_control", { "run.lock": lock, "control.json": '{"port": "x"' });
  await copy("silent", { "run.lock": lock, "control.json": JSON.stringify({ port, token: "abc" }) });
  await copy("closed", { "run.lock": lock, "control.json": JSON.stringify({ port: 1024, token: "abc" }) });
  await copy("just_locked", { "run.lock": lock });
  await copy("long_locked", { "run.lock": lock });
  await utimes(join(dir, "long_locked", "run.lock"), new Date(0), new Date(0));
}

async function ended(dir: string, { words, env, shell = '"$@"' }: Case): Promise<{ code: number; said: string }> {
  const command = [Deno.execPath(), "run", "-A", join(ROOT, "mod.ts"), ...words];
  const { code, stdout, stderr } = await new Deno.Command("bash", {
    args: ["-o", "pipefail", "-c", shell, "hone", ...command],
    cwd: dir,
    env: { NO_COLOR: "1", HONE_CACHE_DIR: join(dir, "cache"), ...env },
    stdin: "null",
  }).output();
  return { code, said: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

Deno.test("no command shows a stack for what a person or a machine can cause", async (t) => {
  await using dir = await folder();
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  await brokenFiles(dir.path);
  await brokenRuns(dir.path, (listener.addr as Deno.NetAddr).port);
  const few = new Semaphore(3);
  const free = { sanitizeOps: false, sanitizeResources: false, sanitizeExit: false };
  await Promise.all([...FILES, ...SETTINGS, ...RUNS, ...MACHINE].map((one) =>
    t.step({
      name: `${one.words.join(" ").slice(0, 60)}${one.shell ? ` (${one.shell})` : ""}`,
      ...free,
      fn: () =>
        few.use(async () => {
          const { code, said } = await ended(dir.path, one);
          assert.match(said, one.says);
          assert(!STACK.test(said), said);
          assert.equal(code, one.code ?? 2, said);
        }),
    })
  ));
});

/** A small file system in memory, where this machine and user may mount one. */
async function tinyDisk(): Promise<AsyncDisposable & { path: string } | null> {
  const made = await folder();
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", "size=4m", "none", made.path]);
  if (status === 0) {
    return { path: made.path, [Symbol.asyncDispose]: async () => void spawnSync("umount", ["-l", made.path]) };
  }
  await made[Symbol.asyncDispose]();
  return null;
}

Deno.test("a full disk is named with the file that could not be written", async () => {
  await using dir = await folder();
  await using disk = await tinyDisk();
  if (!disk) return;
  await brokenFiles(dir.path);
  const { run_dir, end } = await liveRun(disk.path, "stopped");
  await end("paused");
  await cp(join(dir.path, "good.yaml"), join(run_dir, "pipeline.yaml"));
  await cp(join(dir.path, "tasks.yaml"), join(run_dir, "tasks.yaml"));
  await writeFile(join(disk.path, "filler"), new Uint8Array(8e6)).catch(() => {});
  const cases: Case[] = [
    { words: ["resume", run_dir, "--yes"], says: /Cannot write ".*run\.lock.*": no space left on the disk/ },
    { words: ["run", "good.yaml", "--yes", "--run-dir", join(disk.path, "new")], says: /no space left on the disk/ },
    { words: ["new", "judge", "polite", "--dir", disk.path], says: /Cannot write ".*polite\.ts": no space left/ },
    { words: ["report", run_dir], says: /Cannot write ".*verdict\.json": no space left/ },
  ];
  for (const one of cases) {
    const { code, said } = await ended(dir.path, one);
    assert.match(said, one.says);
    assert(!STACK.test(said), said);
    assert.equal(code, 2, said);
  }
});
