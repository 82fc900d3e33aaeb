/**
 * Processes of MCP servers: each leads its own process group, sees only the environment that `childEnv` names, and dies
 * with hone whatever hone dies of. A reaper (one `sh` for the whole program) holds a pipe to hone and kills the groups
 * that are still alive when that pipe closes, so that even SIGKILL of hone leaves no orphan. Unix only; elsewhere
 * processes are killed one by one on release.
 * @module
 */
import { basename } from "node:path";
import { mcp } from "../diagnostics.ts";
import { HoneError } from "../diagnostics.ts";

/** What a server process is started with. */
export interface ProcessSpec {
  command: string;
  args: string[];
  /** The whole environment of the process; see `childEnv`. */
  env: Record<string, string>;
  cwd: string;
}

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

/** Starts a process as the leader of its own group, with all three streams piped. Throws where it cannot be started. */
export function startProcess(spec: ProcessSpec): Deno.ChildProcess {
  const { command, args } = runnable(spec);
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(command, {
      args,
      cwd: spec.cwd,
      env: spec.env,
      clearEnv: true,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      detached: UNIX,
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw new HoneError(mcp.command_not_found(spec.command, spec.cwd));
    const cause = error instanceof Error ? error.message : String(error);
    throw new HoneError(mcp.command_failed([spec.command, ...spec.args].join(" "), cause));
  }
  tell(`+ ${child.pid}`);
  return child;
}

/** Kills the whole group of a process and waits for its leader; helpers that it left behind die too. */
export async function killProcess(child: Deno.ChildProcess): Promise<void> {
  signalGroup(child.pid, "SIGKILL");
  await child.status;
  signalGroup(child.pid, "SIGKILL");
  tell(`- ${child.pid}`);
}

/** Sends a signal to a process and its group; silent where it is gone. */
export function signalGroup(pid: number, signal: Deno.Signal): void {
  for (const target of UNIX ? [-pid] : [pid]) {
    try {
      Deno.kill(target, signal);
    } catch {
      // Gone already.
    }
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

// The list of live groups is the reaper's own variable; `read` ends when hone's end of the pipe closes.
const REAPER = `live=" "
while read -r op pid; do
  if [ "$op" = + ]; then live="$live$pid "; else live="\${live%% $pid *} \${live#* $pid }"; fi
done
for pid in $live; do kill -KILL -"$pid" 2>/dev/null; done`;

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
    args: ["-c", REAPER],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
    detached: true,
  }).spawn();
  child.unref();
  return { child, writer: child.stdin.getWriter() };
}
