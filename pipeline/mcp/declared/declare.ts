/**
 * Servers named on a command line: a bare command, a URL, or entries of a file. The file is a client's `mcpServers`
 * JSON, an editor's `servers` JSON, or a pipeline; keys that hone does not know are left out.
 * @module
 */
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { protectReference } from "../../common/redact.ts";
import { readYaml } from "../../config/source.ts";
import { clientEntry, clientText, isOff, serverKey, serversIn } from "./client_file.ts";
import { type Program, serverPrograms } from "../../config/programs.ts";
import { pipeline_schema, type ServerConfig } from "../../config/pipeline_schema.ts";
import { textOf } from "../../common/read_text.ts";
import { config as say, HoneError, mcp } from "../../diagnostics/mod.ts";

/** The servers on a command line. */
export interface ServerWords {
  /** A command and its arguments, or one URL, or (with `config`) at most one name. */
  words: string[];
  /** `Name: value` each; for a URL. */
  headers?: string[];
  config?: string;
  /** `NAME=value`, or `NAME` of a variable of hone's own; for processes. */
  variables?: string[];
  /** Overrides the servers' declarations. */
  start_timeout_secs?: number;
}

/** Declared servers by name; relative paths in them are relative to `base_dir`. */
export interface Declared {
  servers: Record<string, ServerConfig>;
  base_dir: string;
  /** What a file makes hone start, to be approved; empty for a command line, which says so itself. */
  programs: Program[];
}

const DROPPED_WORDS = /^(npx|uvx|uv|deno|node|python3?|env|run|exec|tool|-.*|npm:|\w+=.*)$/;

/** Reads the declarations. Throws a HoneError if there is none, or an invalid one. `MCP_URL` is the default. */
export async function declareServers(
  said: ServerWords,
  env: Record<string, string> = Deno.env.toObject(),
): Promise<Declared> {
  const { servers, base_dir, programs } = await declared(said, env);
  const variables = parseVariables(said.variables ?? [], env);
  const whole = Object.entries(servers).map(([name, one]) => {
    const { start_timeout_secs = one.start_timeout_secs } = said;
    const timed = { ...one, start_timeout_secs };
    return [name, "command" in timed ? { ...timed, env: { ...timed.env, ...variables } } : timed];
  });
  return { servers: Object.fromEntries(whole), base_dir, programs };
}

async function declared(
  { words, headers = [], config }: ServerWords,
  env: Record<string, string>,
): Promise<Declared> {
  if (config !== undefined) return await fromFile(config, words[0], env);
  const url = words.length === 0 ? env.MCP_URL : isUrl(words[0]!) && words.length === 1 ? words[0] : undefined;
  const base_dir = Deno.cwd();
  if (url !== undefined) {
    const name = serverName(URL.canParse(url) ? new URL(url).hostname : "server");
    return { servers: { [name]: server(name, { url, headers: parseHeaders(headers) }) }, base_dir, programs: [] };
  }
  const [command, ...args] = words;
  if (command === undefined) throw new HoneError(mcp.no_server_named());
  const name = serverName(words.find((word) => !DROPPED_WORDS.test(word)) ?? command);
  return { servers: { [name]: server(name, { command, args }) }, base_dir, programs: [] };
}

async function fromFile(path: string, only: string | undefined, env: Record<string, string>): Promise<Declared> {
  const text = await textOf(path);
  const content = readYaml(clientText(text, path), path);
  const entries = serversIn(content)?.entries;
  if (typeof entries === "string") return await fromFile(resolve(dirname(path), entries), only, env);
  if (typeof entries !== "object" || entries === null) throw new HoneError(say.servers_file(path));
  const names = Object.keys(entries);
  if (only !== undefined && !names.includes(only)) throw new HoneError(mcp.unknown_server(only, names));
  // An explicitly named server is used even if its client has disabled it.
  const chosen = Object.entries(entries).filter(([name, entry]) => only === undefined ? !isOff(entry) : name === only);
  if (chosen.length === 0) throw new HoneError(mcp.all_off(path, names));
  const base_dir = dirname(resolve(path));
  const servers = Object.fromEntries(chosen.map(([name, entry]) => {
    const key = serverKey(name);
    return [key, server(key, clientEntry(addressed(interpolate(entry, env, name), env)))];
  }));
  const written = Object.fromEntries(chosen.map(([name, entry]) => [serverKey(name), clientEntry(entry)]));
  return { servers, base_dir, programs: serverPrograms(servers, written, base_dir) };
}

/** An entry of a pipeline may leave the address to `MCP_URL`. */
function addressed(entry: unknown, { MCP_URL }: Record<string, string>): unknown {
  const given = (entry ?? {}) as Record<string, unknown>;
  const placed = ["command", "url", "serverUrl", "httpUrl"].some((key) => given[key] !== undefined);
  return placed || MCP_URL === undefined || typeof given !== "object" ? entry : { ...given, url: MCP_URL };
}

function interpolate(value: unknown, env: Record<string, string>, field: string): unknown {
  if (typeof value === "string") {
    return value.replace(/\$?\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (reference, name) => {
      if (name === "workdir" || reference.startsWith("$$")) return reference.replace("$$", "$");
      const found = env[name];
      if (found === undefined) throw new HoneError(say.env_not_set(name, `servers.${field}`));
      protectReference(name, found, field);
      return found;
    });
  }
  if (Array.isArray(value)) return value.map((item) => interpolate(item, env, field));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, interpolate(item, env, field)]));
}

function server(name: string, entry: unknown): ServerConfig {
  const parsed = pipeline_schema.shape.servers.safeParse({ [name]: entry });
  if (!parsed.success) throw new HoneError(mcp.bad_server(name, z.prettifyError(parsed.error).replaceAll("\n", " ")));
  return parsed.data[name]!;
}

function parseVariables(variables: string[], env: Record<string, string>): Record<string, string> {
  return Object.fromEntries(variables.map((variable) => {
    const [, name = "", value = env[name]] = /^([A-Za-z_][A-Za-z0-9_]*)(?:=(.*))?$/s.exec(variable) ?? [];
    if (name === "" || value === undefined) throw new HoneError(mcp.bad_env(variable));
    return [name, value];
  }));
}

function parseHeaders(headers: string[]): Record<string, string> {
  return Object.fromEntries(headers.map((header) => {
    const [, name, value] = /^([A-Za-z0-9-]+)\s*:\s*(.*)$/.exec(header) ?? [];
    if (name === undefined || value === undefined) throw new HoneError(mcp.bad_header(header));
    return [name, value];
  }));
}

function isUrl(word: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(word);
}

/** A short name: of `npm:@scope/server-files@1.2.3` it is `server-files`. */
function serverName(word: string): string {
  const last = word.replace(/^npm:/, "").replace(/(?<=.)@[^@/]*$/, "").split(/[\\/]/).at(-1)!;
  return last.replace(/\.(ts|js|mjs|py)$/, "").replace(/[^A-Za-z0-9_-]/g, "-").slice(0, 32) || "server";
}
