/**
 * Redacts secrets in logs, in text shown to people and coding agents, and in servers' results: values of environment
 * variables with names of secrets, values that hone passes to servers and endpoints, and, except in servers' results,
 * tokens that look like bearer credentials.
 * @module
 */
import type { Json } from "../events.ts";

const SECRET_NAME = /(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|BEARER)/i;
const BEARER = /\b(Bearer\s+)[A-Za-z0-9._~+/=-]{8,}/gi;
const MIN_LENGTH = 8;

const MAX_DEPTH = 1000;

/** Secrets that hone passed on: unlike hone's own variables, a server can echo them. */
let handed: string[] = [];
let own: string[] | undefined;

/** Adds values that must never be shown, such as a header from the pipeline file. */
export function protect(values: string[]) {
  const fresh = values.filter((value) => value.length >= MIN_LENGTH && !handed.includes(value));
  if (fresh.length > 0) handed = ordered([...handed, ...fresh]);
}

/** Adds what is secret among a program's variables and arguments, `${workdir}` not yet filled in. */
export function protectProgram(env: Record<string, string>, args: string[]) {
  protect(secretsIn(env).filter((value) => !value.includes("${workdir}")));
  const given = [...Object.values(env), ...args];
  protect(surroundings().filter((secret) => given.some((text) => text.includes(secret))));
}

/** Adds an address's password, and its parameters whose names say that they are secret, as they are written there. */
export function protectAddress(address: string) {
  const { password, search } = new URL(address);
  const parameters = search.slice(1).split("&").map((part) => part.split("=", 2) as [string, string]);
  protect([password, ...secretsIn(Object.fromEntries(parameters.map(([name, value = ""]) => [name, value])))]);
}

/** The text with every known secret replaced by `[redacted]`. */
export function redact(text: string): string {
  let clean = withoutHanded(text.replace(BEARER, "$1[redacted]"));
  for (const secret of surroundings()) clean = clean.replaceAll(secret, "[redacted]");
  return clean;
}

/** The text with every secret that hone handed out replaced by `[redacted]`; all else stays as it was said. */
export function withoutHanded(text: string): string {
  let clean = text;
  for (const secret of handed) clean = clean.replaceAll(secret, "[redacted]");
  return clean;
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

function secretsIn(env: Record<string, string>): string[] {
  return Object.entries(env).filter(([name, value]) => isSecretName(name) && value.length >= MIN_LENGTH)
    .map(([, value]) => value);
}

function surroundings(): string[] {
  return own ??= ordered(secretsIn(Deno.env.toObject()));
}

/** Each once, longest first: of a secret that begins as another does, the end would be left. */
function ordered(values: string[]): string[] {
  return [...new Set(values)].sort((a, b) => b.length - a.length);
}
