/**
 * Processes of MCP servers: each leads its own process group, gets only the environment of `childEnv`, and is killed
 * when hone exits for any reason. A reaper (one `sh` for the whole program) holds a pipe to hone and kills the groups
 * and removes the containers that are still alive when that pipe closes, so that even SIGKILL of hone leaves no orphan.
 * Unix only; elsewhere processes are killed one by one on release.
 * @module
 */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { HoneError, mcp, messageOf } from "../../diagnostics/mod.ts";
import { containerArgs, type ContainerSpec } from "./container.ts";
import { below, groupsFolder, MARK, OWN_MARK, processes, Trace } from "./left_behind.ts";

/** Options for starting a server process. */
export interface ProcessSpec {
  command: string;
  args: string[];
  /** The whole environment of the process; see `childEnv`. */
  env: Record<string, string>;
  /** The part of `env` that the pipeline gives. */
  own_env?: Record<string, string>;
  cwd: string;
  /** The container that it runs in; `env` and `cwd` are then those inside. */
  container?: ContainerSpec;
}

const UNIX = Deno.build.os !== "windows";
/** After so many were killed, the next one starts with the next server. */
const MOST_REAPERS = 100;
const SHELL_NAME = /^[A-Za-z_]\w*$/;
/** Containers by the client that they run under, as the reaper knows them: `<engine>/<name>`. */
const containers = new WeakMap<Deno.ChildProcess, string>();
/** What finds the processes that a server leaves behind; a container's go with it. */
const traces = new WeakMap<Deno.ChildProcess, Trace>();

/** Starts a process as the leader of its own group, with all three streams piped. Throws where it cannot be started. */
export function startProcess(spec: ProcessSpec): Deno.ChildProcess {
  if (!spec.container) return startTraced(spec);
  const { engine, writable } = spec.container;
  const name = `hone-${randomUUID()}`;
  tell(`+ ${engine}/${name}`);
  const { args, env } = containerArgs(name, spec.container, spec);
  const child = spawn(spec, { command: engine, cwd: writable[0]!, args, env: { ...env, [MARK]: OWN_MARK } });
  containers.set(child, `${engine}/${name}`);
  return child;
}

function startTraced(spec: ProcessSpec): Deno.ChildProcess {
  const trace = new Trace();
  if (trace.group) tell(`+ =${trace.group.name}`);
  const program = runnable(spec);
  // A shell says less clearly that there is no such program, and drops variables whose names are none for it.
  const by_shell = isProgram(program.command, spec) && Object.keys(spec.env).every((name) => SHELL_NAME.test(name));
  try {
    const within = by_shell ? trace.enter(program) : program;
    const child = spawn(spec, { ...within, env: { ...spec.env, [MARK]: trace.mark }, cwd: spec.cwd });
    if (!by_shell) trace.take(child.pid);
    traces.set(child, trace);
    return child;
  } catch (error) {
    void ended(trace);
    throw error;
  }
}

async function ended(trace: Trace): Promise<void> {
  await trace.end();
  if (trace.group) tell(`- =${trace.group.name}`);
}

function spawn(spec: ProcessSpec, as: Omit<ProcessSpec, "container">): Deno.ChildProcess {
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(as.command, {
      args: as.args,
      cwd: as.cwd,
      env: as.env,
      clearEnv: true,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      detached: UNIX,
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      const missing = existsSync(as.cwd) ? mcp.command_not_found(spec.command) : mcp.no_folder(spec.command, as.cwd);
      throw new HoneError(missing);
    }
    const cause = messageOf(error);
    throw new HoneError(mcp.command_failed([spec.command, ...spec.args].join(" "), cause));
  }
  tell(`+ ${child.pid}`);
  return child;
}

/**
 * Kills the whole group of a process and waits for its leader; also ends everything that it started, daemons included,
 * and its container. With `grace_ms` it is first asked to exit.
 */
export async function killProcess(child: Deno.ChildProcess, grace_ms = 0): Promise<void> {
  const trace = traces.get(child);
  const helpers = trace?.group ? [] : await descendants(child.pid);
  if (grace_ms > 0) {
    signalGroup(child.pid, "SIGTERM");
    const timer = setTimeout(() => signalGroup(child.pid, "SIGKILL"), grace_ms);
    await child.status;
    clearTimeout(timer);
  }
  for (const pid of [child.pid, ...helpers]) signalGroup(pid, "SIGKILL");
  await child.status;
  signalGroup(child.pid, "SIGKILL");
  if (trace) await ended(trace);
  tell(`- ${child.pid}`);
  const container = containers.get(child);
  if (!container) return;
  const [engine, name] = container.split("/") as [string, string];
  const quiet = { stdin: "null", stdout: "null", stderr: "null" } as const;
  await new Deno.Command(engine, { args: ["rm", "-f", name], env: Deno.env.toObject(), ...quiet }).output();
  tell(`- ${container}`);
}

/** Ends what a process that stays has left behind: what it started and what is no longer below it. */
export async function killLeftBehind(child: Deno.ChildProcess): Promise<void> {
  await traces.get(child)?.endOthers(child.pid);
}

/** Sends a signal to the group that a process leads, or to the process alone; silent where it is gone. */
function signalGroup(pid: number, signal: Deno.Signal): void {
  for (const target of UNIX ? [-pid, pid] : [pid]) {
    try {
      return Deno.kill(target, signal);
    } catch {
      // Gone already, or no leader of a group.
    }
  }
}

/** Helpers of a process, theirs too: some lead groups of their own, as the browsers of browser servers do. */
async function descendants(pid: number): Promise<number[]> {
  if (!UNIX) return [];
  const found = below(pid, await processes());
  found.delete(pid);
  return [...found];
}

/** `npx` runs through Deno where there is no Node, and `deno` is the one that runs hone where none is on PATH. */
function runnable(spec: ProcessSpec): { command: string; args: string[] } {
  const own = Deno.execPath();
  const deno = onPath("deno", spec.env.PATH) ? "deno" : /^deno(\.exe)?$/.test(basename(own)) ? own : undefined;
  if (deno === undefined) return spec;
  if (spec.command === "deno") return { command: deno, args: spec.args };
  if (spec.command !== "npx" || onPath("npx", spec.env.PATH)) return spec;
  const rest = spec.args.filter((arg) => arg !== "-y" && arg !== "--yes");
  // Without its own configuration: a lock file of the folder around the run is none of the server's business.
  return { command: deno, args: ["run", "-A", "--no-config", "--no-lock", `npm:${rest[0]}`, ...rest.slice(1)] };
}

/** Whether a command can be executed, as far as its file tells. */
function isProgram(command: string, { env, cwd }: ProcessSpec): boolean {
  return command.includes("/") ? isExecutable(resolve(cwd, command)) : onPath(command, env.PATH);
}

function isExecutable(path: string): boolean {
  try {
    const { isFile, mode } = Deno.statSync(path);
    return isFile && ((mode ?? 0) & 0o111) !== 0;
  } catch {
    return false;
  }
}

function onPath(program: string, path = ""): boolean {
  return path.split(UNIX ? ":" : ";").some((dir) => {
    try {
      return Deno.statSync(`${dir}/${program}${UNIX ? "" : ".cmd"}`).isFile;
    } catch {
      return false;
    }
  });
}

// The list of live groups and containers is the reaper's own variable; `read` ends when hone's end of the pipe closes.
// Servers see that too and may be gone already: what they leave behind is in their control group or known by the mark.
// A client may have been killed while its container was being made: hence the second look.
const REAPER = `live=" "
while read -r op one; do
  case "$op$live" in +*) live="$live$one ";; *" $one "*) live="\${live%% $one *} \${live#* $one }";; esac
done
for one in $live; do case $one in =*) echo 1 >"$1/\${one#=}/cgroup.kill";; esac; done 2>/dev/null
for one in $live; do case $one in */*|=*) ;; *) kill -KILL -"$one" 2>/dev/null;; esac; done
for marked in $(grep -ls "$0" /proc/[0-9]*/environ); do
  pid=\${marked#/proc/}; kill -KILL "\${pid%/environ}" 2>/dev/null
done
for one in $live; do case $one in =*) rmdir "$1/\${one#=}" || { sleep 1; rmdir "$1/\${one#=}"; };; esac; done 2>/dev/null
for try in 1 2; do
  for one in $live; do case $one in */*) "\${one%%/*}" rm -f "\${one#*/}"; again=1;; esac; done
  [ "$again" ] && [ $try = 1 ] && sleep 2
done`;

let reaper: WritableStreamDefaultWriter<Uint8Array> | undefined;
let reapers = 0;
/** What the reaper has been told of and not told to forget: a new one, after the old one was killed, hears it again. */
const live = new Set<string>();

function tell(line: `${"+" | "-"} ${string}`): void {
  if (!UNIX) return;
  const one = line.slice(2);
  if (line.startsWith("+")) live.add(one);
  else if (!live.delete(one)) return;
  if (!reaper) startReaper();
  else write(reaper, line);
}

function write(to: WritableStreamDefaultWriter<Uint8Array>, ...lines: string[]): void {
  to.write(new TextEncoder().encode(lines.map((line) => `${line}\n`).join(""))).catch(() => {});
}

function startReaper(): void {
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", REAPER, `${MARK}=${OWN_MARK}`, groupsFolder() ?? ""],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
    detached: true,
  }).spawn();
  child.unref();
  reaper = child.stdin.getWriter();
  reaper.closed.catch(() => {});
  write(reaper, ...[...live].map((one) => `+ ${one}`));
  child.status.then(() => {
    reaper = undefined;
    if (live.size > 0 && ++reapers < MOST_REAPERS) startReaper();
  });
}
