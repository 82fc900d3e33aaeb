/**
 * The environment of programs that a pipeline names, servers and `exec:` programs alike: a short list of hone's own
 * variables, a HOME and TMPDIR of their own, and the user's package caches. No credentials: addresses of proxies and
 * package indexes lose theirs, and npm's and Deno's own configuration, which may hold tokens, is not passed. A program
 * that needs one gets it by its own settings.
 * @module
 */
import { readFileSync } from "node:fs";

const PASSED = [
  ...["PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TERM", "USER", "LOGNAME", "SHELL"],
  ...["SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "DENO_CERT", "DENO_TLS_CA_STORE", "REQUESTS_CA_BUNDLE"],
  ...["NO_PROXY", "no_proxy"],
  ...["SYSTEMROOT", "SystemRoot", "COMSPEC", "PATHEXT", "WINDIR", "APPDATA", "LOCALAPPDATA"],
];
const ADDRESSES = [
  ...["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"],
  ...["npm_config_registry", "NPM_CONFIG_REGISTRY", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"],
];
/** Settings of an `.npmrc` that say where packages come from and how that place is reached. */
const NPM_ADDRESS = /^((@[\w.-]+:)?registry|proxy|https-proxy)$/;
const NPM_PLAIN = /^(noproxy|cafile|strict-ssl)$/;

/** The environment of a program, with its own variables on top. */
export function childEnv(own: Record<string, string>, dirs: { home: string; tmp: string }): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of [...PASSED, ...ADDRESSES]) {
    const value = Deno.env.get(name);
    if (value !== undefined) env[name] = value;
  }
  const npm = npmSettings();
  for (const name of ["npm_config_registry", "NPM_CONFIG_REGISTRY"]) if (env[name]) delete npm.npm_config_registry;
  return { ...withPlainAddresses(env), ...npm, ...caches(), HOME: dirs.home, TMPDIR: dirs.tmp, ...own };
}

/** The environment of an `exec:` program. Python packages that the user installed for herself stay where they are. */
export function programEnv(dirs: { home: string; tmp: string }): Record<string, string> {
  const base = Deno.env.get("PYTHONUSERBASE") ?? (Deno.build.os === "linux" && home() ? `${home()}/.local` : undefined);
  return childEnv(base === undefined ? {} : { PYTHONUSERBASE: base }, dirs);
}

/** The variables, with the addresses of proxies and package indexes among them without credentials. */
export function withPlainAddresses(env: Record<string, string>): Record<string, string> {
  const plain = ADDRESSES.filter((name) => env[name] !== undefined).map((
    name,
  ) => [name, withoutCredentials(env[name]!)]);
  return { ...env, ...Object.fromEntries(plain) };
}

/** An address, or one of host and port, without user, password and query. */
export function withoutCredentials(address: string): string {
  return address.replace(/^([a-z][a-z0-9+.-]*:\/\/)?[^/?#]*@/i, "$1").replace(/[?#].*$/, "");
}

/** What the user's `.npmrc` says of registries, as variables that npm reads. Its tokens and its other settings stay. */
function npmSettings(): Record<string, string> {
  const path = Deno.env.get("npm_config_userconfig") ?? Deno.env.get("NPM_CONFIG_USERCONFIG") ?? `${home()}/.npmrc`;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return {};
  }
  const found: Record<string, string> = {};
  for (const line of text.split("\n")) {
    const [, key, quoted] = /^\s*([^#;\s=]+)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (key === undefined || quoted === undefined) continue;
    const value = quoted.replace(/^"(.*)"$/, "$1").replace(/\$\{(\w+)\}/g, (all, name) => Deno.env.get(name) ?? all);
    const name = `npm_config_${key.replaceAll("-", "_")}`;
    if (NPM_ADDRESS.test(key)) found[name] = withoutCredentials(value);
    else if (NPM_PLAIN.test(key)) found[name] = value;
  }
  return found;
}

function caches(): Record<string, string> {
  const at = home();
  if (!at) return {};
  const mac = Deno.build.os === "darwin";
  const cache = Deno.env.get("XDG_CACHE_HOME") ?? (mac ? `${at}/Library/Caches` : `${at}/.cache`);
  const uv = Deno.env.get("XDG_CACHE_HOME") ?? `${at}/.cache`;
  const value = (fallback: string, ...names: string[]) =>
    names.map((name) => Deno.env.get(name)).find((found) => found !== undefined) ?? fallback;
  return {
    DENO_DIR: value(`${cache}/deno`, "DENO_DIR"),
    DENO_NO_UPDATE_CHECK: "1",
    npm_config_cache: value(`${at}/.npm`, "npm_config_cache", "NPM_CONFIG_CACHE"),
    npm_config_update_notifier: "false",
    UV_CACHE_DIR: value(`${uv}/uv`, "UV_CACHE_DIR"),
    UV_PYTHON_INSTALL_DIR: value(`${at}/.local/share/uv/python`, "UV_PYTHON_INSTALL_DIR"),
  };
}

function home(): string | undefined {
  return Deno.env.get("HOME") ?? Deno.env.get("USERPROFILE");
}

/** The environment of a server in a container: folders of its own, and the server's own `env:`. */
export function containerEnv(own: Record<string, string>, dirs: { home: string; tmp: string }): Record<string, string> {
  return { HOME: dirs.home, TMPDIR: dirs.tmp, ...own };
}
