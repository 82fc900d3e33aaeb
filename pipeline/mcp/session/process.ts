/**
 * Processes of MCP servers: each leads its own process group, gets only the environment of `childEnv`, and is killed
 * when hone exits for any reason. A reaper (one `sh` for the whole program) holds a pipe to hone and kills the groups
 * and removes the containers that are still alive when that pipe closes, so that even SIGKILL of hone leaves no orphan.
 * Unix only; elsewhere processes are killed one by one on release.
 * @module
 */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { HoneError, mcp, messageOf } from "../../diagnostics/mod.ts";
import { containerArgs, type ContainerSpec } from "./container.ts";

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

/** In the environment of every server, and so of its helpers. */
const MARK = `HONE_MARK=${randomUUID()}`;
const UNIX = Deno.build.os !== "windows";
const PASSED = [
  ...["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "USER", "LOGNAME", "SHELL"],
  ...["SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "DENO_CERT", "DENO_TLS_CA_STORE", "REQUESTS_CA_BUNDLE"],
  ...["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"],
  ...["npm_config_registry", "NPM_CONFIG_REGISTRY", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"],
  ...["SYSTEMROOT", "SystemRoot", "COMSPEC", "PATHEXT", "WINDIR", "APPDATA", "LOCALAPPDATA"],
];

/**
 * The environment of a server process: a short list of hone's own variables, a HOME and TMPDIR of its own, the user's
 * real package caches (so that nothing is downloaded twice), and the server's own `env:` on top.
 */
export function childEnv(own: Record<string, string>, dirs: { home: string; tmp: string }): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of PASSED) {
    const value = Deno.env.get(name);
    if (value !== undefined) env[name] = value;
  }
  return { ...env, ...caches(), HOME: dirs.home, TMPDIR: dirs.tmp, ...own };
}

function caches(): Record<string, string> {
  const home = Deno.env.get("HOME") ?? Deno.env.get("USERPROFILE");
  if (!home) return {};
  const mac = Deno.build.os === "darwin";
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? (mac ? `${home}/Library/Caches` : `${home}/.cache`);
  const uv = Deno.env.get("XDG_CACHE_HOME") ?? `${home}/.cache`;
  const value = (fallback: string, ...names: string[]) =>
    names.map((name) => Deno.env.get(name)).find((found) => found !== undefined) ?? fallback;
  return {
    DENO_DIR: value(`${cache}/deno`, "DENO_DIR"),
    DENO_NO_UPDATE_CHECK: "1",
    npm_config_cache: value(`${home}/.npm`, "npm_config_cache", "NPM_CONFIG_CACHE"),
    npm_config_userconfig: value(`${home}/.npmrc`, "npm_config_userconfig", "NPM_CONFIG_USERCONFIG"),
    npm_config_update_notifier: "false",
    UV_CACHE_DIR: value(`${uv}/uv`, "UV_CACHE_DIR"),
    UV_PYTHON_INSTALL_DIR: value(`${home}/.local/share/uv/python`, "UV_PYTHON_INSTALL_DIR"),
  };
}

/** The environment of a server in a container: folders of its own, and the server's own `env:`. */
export function containerEnv(own: Record<string, string>, dirs: { home: string; tmp: string }): Record<string, string> {
  return { HOME: dirs.home, TMPDIR: dirs.tmp, ...own };
}

/** Containers by the client that they run under, as the reaper knows them: `<engine>/<name>`. */
const containers = new WeakMap<Deno.ChildProcess, string>();

/** Starts a process as the leader of its own group, with all three streams piped. Throws where it cannot be started. */
export function startProcess(spec: ProcessSpec): Deno.ChildProcess {
  if (!spec.container) return spawn(spec, { ...runnable(spec), env: spec.env, cwd: spec.cwd });
  const { engine, writable } = spec.container;
  const name = `hone-${randomUUID()}`;
  tell(`+ ${engine}/${name}`);
  const child = spawn(spec, { command: engine, cwd: writable[0]!, ...containerArgs(name, spec.container, spec) });
  containers.set(child, `${engine}/${name}`);
  return child;
}

function spawn(spec: ProcessSpec, as: Omit<ProcessSpec, "container">): Deno.ChildProcess {
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(as.command, {
      args: as.args,
      cwd: as.cwd,
      env: { ...as.env, HONE_MARK: MARK.slice("HONE_MARK=".length) },
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
 * Kills the whole group of a process and waits for its leader; also ends its remaining helpers and its container.
 * With `grace_ms` it is first asked to exit.
 */
export async function killProcess(child: Deno.ChildProcess, grace_ms = 0): Promise<void> {
  const helpers = await descendants(child.pid);
  if (grace_ms > 0) {
    signalGroup(child.pid, "SIGTERM");
    const timer = setTimeout(() => signalGroup(child.pid, "SIGKILL"), grace_ms);
    await child.status;
    clearTimeout(timer);
  }
  for (const pid of [child.pid, ...helpers]) signalGroup(pid, "SIGKILL");
  await child.status;
  signalGroup(child.pid, "SIGKILL");
  tell(`- ${child.pid}`);
  const container = containers.get(child);
  if (!container) return;
  const [engine, name] = container.split("/") as [string, string];
  await new Deno.Command(engine, { args: ["rm", "-f", name], stdin: "null", stdout: "null", stderr: "null" }).output();
  tell(`- ${container}`);
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
  try {
    const args = ["-A", "-o", "pid=", "-o", "ppid="];
    const { stdout } = await new Deno.Command("ps", { args, stdin: "null", stderr: "null" }).output();
    const pairs = new TextDecoder().decode(stdout).trim().split("\n").map((line) =>
      line.trim().split(/\s+/).map(Number)
    );
    const found = new Set([pid]);
    for (let size = 0; size < found.size;) {
      size = found.size;
      for (const [child, parent] of pairs) if (found.has(parent!)) found.add(child!);
    }
    found.delete(pid);
    return [...found];
  } catch {
    return []; // No ps here: helpers in the process's own group die all the same.
  }
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
// Servers see that too and may be gone already: helpers of theirs that lead groups of their own are known by the mark.
// A client may have been killed while its container was being made: hence the second look.
const REAPER = `live=" "
while read -r op one; do
  if [ "$op" = + ]; then live="$live$one "; else live="\${live%% $one *} \${live#* $one }"; fi
done
for one in $live; do case $one in */*) ;; *) kill -KILL -"$one" 2>/dev/null;; esac; done
for marked in $(grep -ls "$0" /proc/[0-9]*/environ); do
  pid=\${marked#/proc/}; kill -KILL "\${pid%/environ}" 2>/dev/null
done
for try in 1 2; do
  for one in $live; do case $one in */*) "\${one%%/*}" rm -f "\${one#*/}"; again=1;; esac; done
  [ "$again" ] && [ $try = 1 ] && sleep 2
done`;

let reaper: { child: Deno.ChildProcess; writer: WritableStreamDefaultWriter<Uint8Array> } | null | undefined;

function tell(line: string): void {
  if (!UNIX) return;
  reaper ??= startReaper();
  reaper.writer.write(new TextEncoder().encode(`${line}\n`)).catch(() => {
    reaper = undefined; // It was killed; the next process gets a new one.
  });
}

function startReaper() {
  const child = new Deno.Command("/bin/sh", {
    args: ["-c", REAPER, MARK],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
    detached: true,
  }).spawn();
  child.unref();
  return { child, writer: child.stdin.getWriter() };
}
