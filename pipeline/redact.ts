/**
 * Keeps secrets out of logs, of what is shown before a start, and of what coding agents read: values of environment
 * variables whose names say that they are secret, and tokens that look like bearer credentials.
 * @module
 */

const SECRET_NAME = /(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|BEARER)/i;
const BEARER = /\b(Bearer\s+)[A-Za-z0-9._~+/=-]{8,}/gi;
const MIN_LENGTH = 8;

let secrets: string[] | undefined;

/** Adds values that must never be shown, such as a header from the pipeline file. */
export function protect(values: string[]) {
  known().push(...values.filter((value) => value.length >= MIN_LENGTH));
}

/** The text with every known secret replaced by `[redacted]`. */
export function redact(text: string): string {
  let clean = text.replace(BEARER, "$1[redacted]");
  for (const secret of known()) clean = clean.replaceAll(secret, "[redacted]");
  return clean;
}

function known(): string[] {
  return secrets ??= Object.entries(Deno.env.toObject())
    .filter(([name, value]) => SECRET_NAME.test(name) && value.length >= MIN_LENGTH)
    .map(([, value]) => value);
}
