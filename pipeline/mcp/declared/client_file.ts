/**
 * Server declarations of other MCP clients, read unchanged: `mcpServers` (Claude Desktop, Claude Code, Cursor,
 * Windsurf, Gemini), `servers` (VS Code, also under `mcp` of its settings), `context_servers` (Zed). Comments,
 * `${env:NAME}`, `${workspaceFolder}` and `${userHome}` mean what they mean there; `${input:…}` is not prompted for, so
 * it is the environment variable of that name. Disabled entries are skipped.
 * @module
 */
import { basename, dirname, resolve } from "node:path";
import { pipeline_schema } from "../../config/pipeline_schema.ts";

/** The text in hone's own words: references as `${NAME}`, comments blanked where the file is JSON. */
export function clientText(text: string, path: string): string {
  const folder = dirname(resolve(path));
  const workspace = /^\.(vscode|cursor|gemini|zed)$/.test(basename(folder)) ? dirname(folder) : folder;
  const plain = /^\s*[{/]/.test(text) ? text.replace(/"(?:\\.|[^"\\])*"|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, blanked) : text;
  return plain
    .replace(/\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}/g, "$${$1}")
    .replace(/\$\{input:([^}]+)\}/g, (_, id: string) => `\${${variableOf(id)}}`)
    .replace(/\$\{(workspaceFolder|userHome|\/|pathSeparator)\}/g, (_, name: string) => {
      const value = name === "workspaceFolder" ? workspace : name === "userHome" ? Deno.env.get("HOME") ?? "~" : "/";
      return JSON.stringify(value).slice(1, -1);
    });
}

/** Top-level fields of which every file that declares servers has one. */
export const SERVERS_FIELDS = ["mcpServers", "servers", "mcp", "context_servers"];

/** Where a file declares its servers: the path of the map, or undefined where it has none. */
export function serversIn(content: unknown): { path: string[]; entries: unknown } | undefined {
  for (const path of [["mcpServers"], ["servers"], ["mcp", "servers"], ["context_servers"]]) {
    const entries = path.reduce<unknown>(
      (at, key) => (at as Record<string, unknown> | null | undefined)?.[key],
      content,
    );
    if (entries !== undefined) return { path, entries };
  }
}

/** True for an entry that its client leaves out. */
export function isOff(entry: unknown): boolean {
  const { disabled, enabled } = (entry ?? {}) as Record<string, unknown>;
  return disabled === true || enabled === false;
}

const [process_fields, url_fields] = pipeline_schema.shape.servers.unwrap().valueType.options.map((option) =>
  Object.keys(option.shape)
);
const TRANSPORTS: Record<string, "http" | "sse"> = {
  http: "http",
  "streamable-http": "http",
  streamablehttp: "http",
  streamable_http: "http",
  sse: "sse",
};

/** An entry in hone's format, without fields specific to that client. */
export function clientEntry(entry: unknown): unknown {
  if (typeof entry !== "object" || entry === null) return entry;
  const given = entry as Record<string, unknown>;
  const url = given.url ?? given.serverUrl ?? given.httpUrl;
  const said = String(given.type ?? given.transportType ?? given.transport ?? "").toLowerCase();
  const transport = TRANSPORTS[said] ?? (given.httpUrl !== undefined ? "http" : undefined);
  const remote = url !== undefined || (given.command === undefined && transport !== undefined);
  const whole: Record<string, unknown> = remote
    ? { ...given, url, transport, auth: ownAuth(given.auth) }
    : commandOf(given);
  const fields = remote ? url_fields! : process_fields!;
  return Object.fromEntries(
    Object.entries(whole).filter(([key, value]) => fields.includes(key) && value !== undefined && value !== null),
  );
}

/** All enabled entries in hone's format. */
export function clientEntries(entries: unknown): Record<string, unknown> {
  const on = Object.entries(entries ?? {}).filter(([, entry]) => !isOff(entry));
  return Object.fromEntries(on.map(([name, entry]) => [serverKey(name), clientEntry(entry)]));
}

/** Other clients allow any text as a name. */
export function serverKey(name: string): string {
  return name.slice(0, 1000).replace(/[^A-Za-z0-9_-]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 32) || "server";
}

/** Zed writes the command as an object. */
function commandOf(given: Record<string, unknown>): Record<string, unknown> {
  if (typeof given.command !== "object" || given.command === null) return given;
  const { path, args, env } = given.command as Record<string, unknown>;
  return { ...given, command: path, args, env };
}

/** Other clients' `auth` has other keys; theirs are logged in to with `hone login`. */
function ownAuth(auth: unknown): unknown {
  const own = typeof auth === "object" && auth !== null &&
    Object.keys(auth).every((key) => /^[a-z]+(_[a-z]+)*$/.test(key));
  return own ? auth : undefined;
}

function blanked(match: string): string {
  return match.startsWith('"') ? match : match.replace(/[^\n]/g, " ");
}

function variableOf(id: string): string {
  return id.replace(/[^A-Za-z0-9]+/g, "_").toUpperCase();
}
