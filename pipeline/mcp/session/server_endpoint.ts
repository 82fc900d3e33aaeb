/**
 * From a server's declaration to its endpoint: `${workdir}` expanded, paths made absolute, secrets read from the
 * environment. `./` and `../` in `command`, `args` and `cwd` are relative to the pipeline file, unless `cwd` is given:
 * then `args` are left to it. Of a server in a container only `mounts` are: the rest is the image's own.
 * @module
 */
import { basename, resolve } from "node:path";
import type { ServerConfig } from "../../config/pipeline_schema.ts";
import type { Json } from "../../events.ts";
import { protectAddress, protectHeaders, protectProgram } from "../../common/redact.ts";
import type { Folders } from "../pool/folders.ts";
import type { ContainerSpec, Engine } from "./container.ts";
import { OAuth } from "../auth/oauth.ts";
import { childEnv, containerEnv } from "../../program/child_env.ts";
import type { ProcessSpec } from "./process.ts";
import type { Endpoint } from "./transport.ts";

/** The endpoint of a server for one slot; `engine` is what runs its container, where it has one. */
export function endpointOf(
  config: ServerConfig,
  { base_dir, folders, max_result_bytes }: { base_dir: string; folders: Folders; max_result_bytes: number },
  engine?: Engine,
): Endpoint {
  if ("url" in config) {
    const { url, transport } = config;
    const auth = oauthOf(config);
    const headers = auth ? config.headers : withBearer(config);
    protectHeaders(headers);
    protectAddress(url);
    return { kind: "url", url, transport, headers, max_message_bytes: max_result_bytes, ...(auth && { auth }) };
  }
  protectProgram(config.env, config.args);
  const spec = engine ? containerSpec(config, base_dir, folders, engine) : processSpec(config, base_dir, folders);
  return { kind: "stdio", max_message_bytes: max_result_bytes, spec };
}

type ProcessConfig = Extract<ServerConfig, { command: string }>;

function processSpec(config: ProcessConfig, base_dir: string, folders: Folders): ProcessSpec {
  const fill = (text: string) => expand(text, folders.work);
  const local = (text: string) => /^\.\.?\//.test(text) ? resolve(base_dir, text) : text;
  const own_env = expandAll(config.env, folders.work);
  return {
    command: local(fill(config.command)),
    args: config.args.map((arg) => config.cwd === undefined ? local(fill(arg)) : fill(arg)),
    env: childEnv(own_env, folders),
    own_env,
    cwd: config.cwd === undefined ? folders.work : resolve(base_dir, fill(config.cwd)),
  };
}

function containerSpec(config: ProcessConfig, base_dir: string, folders: Folders, engine: Engine): ProcessSpec {
  const fill = (text: string) => expand(text, folders.work);
  const container: ContainerSpec = {
    ...config.container!,
    engine,
    mounts: config.container!.mounts.map((mount) => mount.replace(/^\.\.?\/[^:]*/, (path) => resolve(base_dir, path))),
    writable: [folders.work, folders.home, folders.tmp],
  };
  return {
    command: fill(config.command),
    args: config.args.map(fill),
    env: containerEnv(expandAll(config.env, folders.work), folders),
    cwd: config.cwd === undefined ? folders.work : fill(config.cwd),
    container,
  };
}

/** The folder that the server is told is its root, or undefined: hone then offers no roots. */
export function rootOf(config: ServerConfig, workdir: string): string | undefined {
  if (!("command" in config)) return undefined;
  const { args, env, cwd = "" } = config;
  const names_it = [...args, ...Object.values(env), cwd].some((text) => text.includes("${workdir}"));
  return config.roots ?? names_it ? workdir : undefined;
}

const START_SECS = 30;
const INSTALL_SECS = 300;
const INSTALLERS = new Set(["npx", "npm", "pnpm", "pnpx", "yarn", "bun", "bunx", "uvx", "uv", "pipx"]);

/**
 * Seconds that a server may take to answer first. Installing takes long, and cut short it may leave a broken package.
 */
export function startLimit(config: ServerConfig): number {
  if (config.start_timeout_secs !== undefined) return config.start_timeout_secs;
  if (!("command" in config)) return START_SECS;
  const program = basename(config.command).replace(/\.(cmd|exe)$/, "");
  const fetched = program === "deno" && config.args.some((arg) => /^(npm|jsr|https?):/.test(arg));
  return fetched || INSTALLERS.has(program) ? INSTALL_SECS : START_SECS;
}

type UrlConfig = Extract<ServerConfig, { url: string }>;

/** The declared headers with the bearer token. `MCP_BEARER_TOKEN` goes to exactly the server that `MCP_URL` names. */
function withBearer({ url, headers, bearer_env }: UrlConfig): Record<string, string> {
  const name = bearer_env ?? (url === Deno.env.get("MCP_URL") && !authorized(headers) ? "MCP_BEARER_TOKEN" : undefined);
  const token = name === undefined ? undefined : Deno.env.get(name);
  return token ? { ...headers, Authorization: `Bearer ${token}` } : headers;
}

/** The tokens of a server with `auth:`, or of one that a person has logged in to and that has no other key. */
function oauthOf({ url, headers, bearer_env, auth }: UrlConfig): OAuth | undefined {
  const env = (name: string | undefined) => name === undefined ? undefined : Deno.env.get(name);
  if (auth) {
    const { client_secret_env, private_key_env, refresh_token_env, ...rest } = auth;
    return OAuth.shared(url, {
      ...rest,
      client_secret: env(client_secret_env),
      private_key: env(private_key_env),
      refresh_token: env(refresh_token_env),
    });
  }
  if (bearer_env !== undefined || authorized(headers) || !OAuth.hasLogin(url)) return undefined;
  return OAuth.shared(url, { grant: "refresh_token", key_algorithm: "ES256" });
}

function authorized(headers: Record<string, string>): boolean {
  return Object.keys(headers).some((name) => name.toLowerCase() === "authorization");
}

/** `${workdir}` in a text. */
export function expand(text: string, workdir: string): string {
  return text.replaceAll("${workdir}", workdir);
}

/** `${workdir}` in every text of a JSON value. */
export function expandAll<T extends Json>(value: T, workdir: string | null): T {
  if (workdir === null) return value;
  if (typeof value === "string") return expand(value, workdir) as T;
  if (Array.isArray(value)) return value.map((item) => expandAll(item, workdir)) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, expandAll(item, workdir)])) as T;
}
