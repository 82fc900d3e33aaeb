/**
 * Redacts secrets in logs, in text shown to people and coding agents, and in servers' results. Secret are:
 *
 * - what hone's own environment holds under the name of a secret (not in servers' results: they were not given it);
 * - what hone passes on: the values of `${…}` in a pipeline, of `env:` and headers, and the user part of an address;
 * - tokens that look like bearer credentials (not in servers' results).
 *
 * Each is found as it is, and in its JSON, percent-encoded and Base64 forms. Passed on, but not secret, are values that
 * everybody knows or that text cannot do without: shorter than 8 characters, numbers, paths, addresses (of which the
 * parts that look like keys are secret), a single word in `env:`, and what stands under a well-known public name, such
 * as LANG, or in a field for one, such as `model`. Under the name of a secret, such as API_KEY, everything is one.
 * @module
 */
import type { Json } from "../events.ts";
import { MIN_LENGTH, patternOf } from "./secret_pattern.ts";

const SECRET_NAME = /(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|BEARER)|_PASS$/i;
const PUBLIC_NAME =
  /^(NODE_ENV|LANG|LANGUAGE|LC_\w+|TZ|TERM|USER|LOGNAME|SHELL|HOSTNAME)$|(^|_)(MODEL|REGION|LEVEL|MODE|LOCALE|TIMEZONE)$/i;
const PUBLIC_FIELD = /^(name|seed|model)$|\.(use|model)$/;
const PUBLIC_HEADER = /^(accept(-\w+)?|content-type|user-agent|cache-control|connection|mcp-protocol-version)$/i;
const NUMBER = /^[-+]?[\d.,:]{0,15}$/;
const PATH = /^(~|\.{0,2})\/|^[A-Za-z]:\\/;
const ADDRESS = /^[a-z][a-z0-9+.-]*:\/\//i;
const WORD = /^\p{L}+$/u;
/** A part of an address that is long and mixed enough to be a key. */
const KEY_LIKE = /^(?=.*\d)(?=.*[a-z])[\w~=.-]{20,}$/i;
const BEARER = /\b(Bearer\s+)[A-Za-z0-9._~+/=-]{8,}/gi;
const REDACTED = "[redacted]";

const MAX_DEPTH = 1000;

/** Secrets that hone passed on: unlike hone's own variables, a server can echo them. */
const handed = new Set<string>();
let own: string[] | undefined;
let patterns: { handed: RegExp | null; all: RegExp | null } | undefined;

/** Adds values that must never be shown. */
export function protect(values: string[]) {
  for (const value of values) {
    if (value.length < MIN_LENGTH || handed.has(value)) continue;
    handed.add(value);
    patterns = undefined;
  }
}

/** Adds the value of a variable that a pipeline names as `${NAME}` in `field`, unless it is public; see above. */
export function protectReference(name: string, value: string, field: string) {
  if (!PUBLIC_FIELD.test(field)) protectVariable(name, value);
}

/** Adds what is secret among a program's variables and arguments, `${workdir}` not yet filled in. */
export function protectProgram(env: Record<string, string>, args: string[]) {
  for (const [name, value] of Object.entries(env)) {
    if (SECRET_NAME.test(name) || !WORD.test(value)) protectVariable(name, value);
  }
  const given = [...Object.values(env), ...args];
  protect(surroundings().filter((secret) => given.some((text) => text.includes(secret))));
}

/** Adds the values of headers: without their scheme, and of `Basic` the password too. */
export function protectHeaders(headers: Record<string, string>) {
  for (const [name, value] of Object.entries(headers)) {
    if (PUBLIC_HEADER.test(name)) continue;
    const [, scheme = "", credentials = value] = /^([A-Za-z][\w-]*)\s+(\S+)$/.exec(value.trim()) ?? [];
    protect([credentials]);
    if (/^basic$/i.test(scheme)) protectUser(...pairIn(credentials));
    if (/^cookie$/i.test(name)) protect(value.split(/;\s*/).map((pair) => pair.slice(pair.indexOf("=") + 1)));
  }
}

/**
 * Adds an address's user and password, its parameters whose names say that they are secret, and its parts that look like
 * keys, as they are written there and decoded.
 */
export function protectAddress(address: string) {
  if (!URL.canParse(address)) return;
  const { username, password, pathname, search } = new URL(address);
  protectUser(username, password);
  for (const part of search.slice(1).split("&")) {
    const [name = "", value = ""] = part.split("=", 2);
    if (SECRET_NAME.test(name) || KEY_LIKE.test(value)) protect([value, decoded(value)]);
  }
  protect(pathname.split("/").filter((part) => KEY_LIKE.test(part)));
}

/** The text with every known secret replaced by `[redacted]`. */
export function redact(text: string): string {
  const { all } = compiled();
  const clean = text.replace(BEARER, `$1${REDACTED}`);
  return all ? clean.replace(all, REDACTED) : clean;
}

/** The text with every secret that hone handed out replaced by `[redacted]`; all else stays as it was said. */
export function withoutHanded(text: string): string {
  const { handed } = compiled();
  return handed && text.length >= MIN_LENGTH ? text.replace(handed, REDACTED) : text;
}

/** The value with every secret that hone handed out replaced in its texts and keys. */
export function valueWithoutHanded(value: Json): Json {
  return compiled().handed ? mapTexts(value, withoutHanded) : value;
}

/** The value with `text` applied to every text and key; what nests too deep is cut. */
export function mapTexts(value: Json, text: (whole: string) => string, depth = 0): Json {
  if (typeof value === "string") return text(value);
  if (typeof value !== "object" || value === null) return value;
  if (depth === MAX_DEPTH) return "[nested too deep]";
  if (Array.isArray(value)) return value.map((item) => mapTexts(item, text, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [text(key), mapTexts(item, text, depth + 1)]),
  );
}

/** True for names of variables whose values are secret. */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name);
}

const PROSE = new Set(["description", "title", "default", "examples", "$comment"]);

/**
 * A server's declaration of a tool, resource or prompt, redacted in what it says to readers. Names, addresses and the
 * keys of schemas stay as they are: the server knows its tools by them.
 */
export function withoutHandedProse(value: Json, depth = 0): Json {
  if (!compiled().handed) return value;
  if (typeof value !== "object" || value === null || depth === MAX_DEPTH) return value;
  if (Array.isArray(value)) return value.map((item) => withoutHandedProse(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      // A property of a schema may have one of these names; its value is then a schema of its own.
      const prose = PROSE.has(key) && (typeof item !== "object" || key === "default" || Array.isArray(item));
      return [key, prose ? mapTexts(item, withoutHanded) : withoutHandedProse(item, depth + 1)];
    }),
  );
}

function protectVariable(name: string, value: string) {
  if (value.includes("${workdir}")) return;
  if (SECRET_NAME.test(name)) protect([value]);
  else if (PUBLIC_NAME.test(name) || NUMBER.test(value) || PATH.test(value)) return;
  if (ADDRESS.test(value)) protectAddress(value);
  else protect([value]);
}

/** A user without a password is a token; one with a password is secret unless it is a word, such as `postgres`. */
function protectUser(user: string, password: string) {
  const secret = password === "" || !WORD.test(user) ? [user, password] : [password];
  protect(secret.flatMap((part) => [part, decoded(part)]));
}

function pairIn(credentials: string): [string, string] {
  try {
    const text = atob(credentials);
    const at = text.indexOf(":");
    return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
  } catch {
    return ["", ""];
  }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function surroundings(): string[] {
  return own ??= Object.entries(Deno.env.toObject())
    .filter(([name, value]) => SECRET_NAME.test(name) && value.length >= MIN_LENGTH).map(([, value]) => value);
}

function compiled() {
  return patterns ??= { handed: patternOf(handed), all: patternOf([...handed, ...surroundings()]) };
}
