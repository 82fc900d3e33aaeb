/**
 * Facts in the results of tools: short values that a question can ask for and a later call can use. What differs from
 * one environment to the next (times, paths outside of the rollout's folder, identifiers) is no fact.
 * @module
 */
import type { CallResult, Json, JsonObject } from "@hone/hone";

/** A fact: `field` is a named value, `item` the only entry of a list, `count` the number of entries, `text` all of it. */
export interface Fact {
  form: "field" | "item" | "count" | "number" | "text";
  /** Of a field, in words. */
  label: string;
  value: string | number;
}

const MOST_CHARS = 80;
const VOLATILE = /\d{1,2}:\d{2}|\d{4}-\d{2}-\d{2}|\bGMT\b|^[/~]|[0-9a-f]{8}-[0-9a-f]{4}|[0-9a-f]{16}|\/tmp\//i;
/** Values of these fields depend on the machine. */
const MACHINE = /permission|created|modified|accessed|time|date|owner|uid|gid|pid|port|version/;

/** The facts of a result, the most telling ones first. */
export function factsOf({ text, result }: Pick<CallResult, "text" | "result">, workdir: string | null): Fact[] {
  const shown = withoutFolder(text, workdir);
  const structured = objectOf(objectOf(result)?.structuredContent) ?? parsed(shown);
  const whole = objectOf(structured);
  const repeats = whole && Object.keys(whole).length === 1 && withoutFolder(String(whole.content), workdir) === shown;
  const facts = structured !== undefined && !repeats ? factsOfJson(structured) : factsOfText(shown);
  return facts.filter(({ label, value }) =>
    !MACHINE.test(label) && (typeof value === "number" ? Number.isFinite(value) : isShort(value))
  );
}

/** True for a short result that reports a failure or nothing at all, although the call succeeded. */
export function isFailure(text: string): boolean {
  return text.length <= 300 &&
    /\berror\b|\bfailed\b|no such|not found|no matches|no results|denied|ENOENT|EISDIR/i.test(text);
}

/** True for a text with a time or a date, which may be another one in the next moment. */
export function tellsTime(text: string): boolean {
  return /\d{1,2}:\d{2}|\d{4}-\d{2}-\d{2}|\bGMT\b/.test(text);
}

/** True if the results support a value: one of them states it, or a fact of one equals it. */
export function isGrounded(
  value: string | number,
  results: readonly Pick<CallResult, "text" | "result">[],
  workdir: string | null,
): boolean {
  return results.some((one) =>
    typeof value === "string" && withoutFolder(one.text, workdir).includes(value) ||
    typeof value === "number" && numbersIn(one.text).includes(value) ||
    factsOf(one, workdir).some((fact) => fact.value === value)
  );
}

/** Paths in the rollout's own folder as its agent would name them. */
export function withoutFolder(text: string, workdir: string | null): string {
  if (workdir === null) return text;
  return text.replaceAll(`/private${workdir}`, workdir).replaceAll(`${workdir}/`, "").replaceAll(workdir, ".");
}

function factsOfJson(value: Json): Fact[] {
  if (Array.isArray(value)) {
    const names = value.map((one) => typeof one === "string" ? one : objectOf(one)?.name);
    const [only] = names;
    const item: Fact[] = names.length === 1 && typeof only === "string"
      ? [{ form: "item", label: "", value: only }]
      : [];
    return [...item, { form: "count", label: "entries", value: value.length }];
  }
  return Object.entries(objectOf(value) ?? {}).flatMap(([key, inner]): Fact[] => {
    const label = inWords(key);
    // The content of a message is no list of entries.
    if (key === "content") return [];
    if (Array.isArray(inner) && inner.length === 1 && objectOf(inner[0])) {
      return [...factsOfJson(inner[0]!).filter(({ form }) => form === "field"), { form: "count", label, value: 1 }];
    }
    if (Array.isArray(inner)) return inner.length > 0 ? [{ form: "count", label, value: inner.length }] : [];
    return typeof inner === "string" || typeof inner === "number" ? [{ form: "field", label, value: inner }] : [];
  });
}

function factsOfText(text: string): Fact[] {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  const fields = lines.map((line) => /^([A-Za-z][\w ]{0,30}): (\S.*)$/.exec(line));
  if (lines.length > 1 && fields.every(Boolean)) {
    const facts = fields.map((field): Fact => ({
      form: "field",
      label: inWords(field![1]!),
      value: asNumber(field![2]!),
    }));
    // The size of a folder is that of its entry in the file system.
    const is_folder = facts.some(({ label, value }) => label === "is directory" && value === "true");
    return facts.filter(({ label, value }) =>
      !/^(true|false)$/.test(String(value)) && !(is_folder && label === "size")
    );
  }
  const entries = lines.map((line) => /^(?:\[\w+\]|[-*•]|\d+\.) +(\S.*)$/.exec(line)?.[1]);
  if (lines.length > 0 && entries.every((entry) => entry !== undefined)) {
    const item: Fact[] = lines.length === 1 ? [{ form: "item", label: "", value: entries[0]! }] : [];
    return [...item, { form: "count", label: "entries", value: lines.length }];
  }
  if (lines.length !== 1) return [];
  const numbers = numbersIn(lines[0]!);
  const number: Fact[] = numbers.length > 0 && lines[0]!.includes(" ")
    ? [{ form: "number", label: "", value: numbers.at(-1)! }]
    : [];
  return [...number, { form: "text", label: "", value: lines[0]! }];
}

function numbersIn(text: string): number[] {
  return (text.match(/(?<![\w.])-?\d+(?:\.\d+)?(?![\w])/g) ?? []).map(Number);
}

function isShort(value: string): boolean {
  return value.length > 0 && value.length <= MOST_CHARS && !value.includes("\n") && !VOLATILE.test(value);
}

function asNumber(text: string): string | number {
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

function inWords(key: string): string {
  return key.replaceAll(/([a-z0-9])([A-Z])/g, "$1 $2").replaceAll(/[_-]+/g, " ").trim().toLowerCase();
}

function parsed(text: string): Json | undefined {
  try {
    const value: Json = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function objectOf(value: Json | undefined): JsonObject | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
}
