/**
 * Whether a reference answer is supported by what the agent can know: its salient values (numbers, quoted texts, the
 * value that the scenario expects as the answer) should occur in the task, the setup, or a call that was made. A value
 * that occurs nowhere may have been made up.
 * @module
 */
import { isObject } from "../common/json.ts";
import type { Json, Scenario, ToolCallRecord } from "../events.ts";

/** The values of the scenario's reference answer that nothing supports, given the calls of its replayed solution. */
export function unsupportedValues(scenario: Scenario, calls: readonly ToolCallRecord[]): string[] {
  if (!scenario.solution) return [];
  const texts = evidence(scenario, calls);
  const known = texts.map(plain).join("\n");
  const numbers = new Set([...texts.flatMap(numbersIn), ...texts.map((text) => linesOf(text)), ...countsIn(calls)]);
  const supported = (value: string | number) =>
    typeof value === "number" ? isNear(value, numbers) : known.includes(plain(value));
  return [...new Set(salient(scenario).filter((value) => !supported(value)).map((value) => JSON.stringify(value)))];
}

/** Numbers and quoted texts of the closing answer, and the expected answer as far as it is a text or a number. */
function salient({ solution, answer }: Scenario): (string | number)[] {
  const { equals, contains } = (answer ?? {}) as { equals?: Json; contains?: string };
  const text = solution!.answer;
  const quoted = [...text.matchAll(/"([^"\n]+)"|“([^”\n]+)”|`([^`\n]+)`/g)].map((found) =>
    found[1] ?? found[2] ?? found[3]!
  );
  const outside = quoted.reduce((rest, one) => rest.replace(one, " "), text);
  const expected = [equals, contains].filter((one) => typeof one === "string" || typeof one === "number");
  return [...expected, ...quoted, ...numbersIn(outside)];
}

/** The task, the setup's texts, and of each call its result and, where it succeeded, its arguments. */
function evidence({ task, setup }: Scenario, calls: readonly ToolCallRecord[]): string[] {
  const prepared = [
    ...Object.entries(setup?.files ?? {}).flat(),
    ...setup?.directories ?? [],
    ...(setup?.calls ?? []).flatMap((call) => leaves(call.arguments)),
  ];
  const made = calls.flatMap(({ outcome, arguments: given, text, result }) => [
    ...(outcome === "ok" ? leaves(given) : []),
    text,
    ...leaves(result),
  ]);
  return [task, ...prepared, ...made];
}

/** Texts and numbers of a value, at any depth. */
function leaves(value: Json): string[] {
  if (value === null || typeof value !== "object") return [String(value)];
  return Object.entries(value).flatMap(([key, inner]) => isObject(value) ? [key, ...leaves(inner)] : leaves(inner));
}

/** How many items lists in the results have: an answer may count them. */
function countsIn(calls: readonly ToolCallRecord[]): number[] {
  const lengths = (value: Json): number[] =>
    value === null || typeof value !== "object"
      ? []
      : [...(Array.isArray(value) ? [value.length] : []), ...Object.values(value).flatMap(lengths)];
  return calls.flatMap(({ text, result }) => [...lengths(result), ...lengths(parsed(text))]);
}

function linesOf(text: string): number {
  return text.split("\n").filter((line) => line.trim() !== "").length;
}

function numbersIn(text: string): number[] {
  return (text.replace(/(\d),(?=\d{3}\b)/g, "$1").match(/-?\d+(\.\d+)?/g) ?? []).map(Number);
}

/** True if one of the numbers is this one, or rounds to it. */
function isNear(value: number, numbers: ReadonlySet<number>): boolean {
  const decimals = /\.(\d+)$/.exec(String(value))?.[1]?.length ?? 0;
  const half = 0.5 * 10 ** -decimals;
  return [...numbers].some((known) => Math.abs(Math.abs(known) - Math.abs(value)) <= half);
}

function plain(text: string): string {
  return text.toLowerCase().replace(/\s+/g, " ").trim();
}

function parsed(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
