/** What a generated set covers: scenarios by tool and kind of argument, and the choice of what to generate next. @module */
import { ARGUMENT_KINDS } from "./argument_forms.ts";
import type { Cell, Draft } from "./compose.ts";
import type { Family } from "./recipes.ts";

/** Share of each family, in parts. */
const WEIGHTS: Record<Family, number> = { single_tool: 4, multi_tool: 4, error_recovery: 3, no_tool: 1, ambiguous: 1 };

/** What is known of a scenario before it is made. */
export interface Outline {
  family: Family;
  tools: string[];
  cells: Cell[];
}

/** Counts of what is kept. */
export class Coverage {
  readonly families = new Map<string, number>();
  readonly combinations = new Map<string, number>();
  readonly cells = new Map<string, number>();

  /** Counts a scenario; `by` is -1 to take it back. */
  count({ family, tools, cells }: Outline, by = 1): void {
    const add = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + by);
    add(this.families, family);
    add(this.combinations, combined(tools));
    for (const key of new Set(cells.map(keyOf))) add(this.cells, key);
  }

  /** How well a scenario's kind is covered already: the lowest is needed most. */
  need({ family, tools, cells }: Outline): number {
    const share = (this.families.get(family) ?? 0) / WEIGHTS[family];
    const seen = cells.map((cell) => this.cells.get(keyOf(cell)) ?? 0);
    const mean = seen.length > 0 ? seen.reduce((sum, one) => sum + one, 0) / seen.length : 0;
    return 3 * share + (this.combinations.get(combined(tools)) ?? 0) + mean / 2;
  }
}

/** The coverage matrix of a set. */
export function matrixOf(drafts: readonly Draft[], tools: readonly string[]): Record<string, Record<string, number>> {
  const matrix: Record<string, Record<string, number>> = Object.create(null);
  for (const tool of tools) matrix[tool] = {};
  for (const { cells } of drafts) {
    for (const key of new Set(cells.map(keyOf))) {
      const [tool, kind] = JSON.parse(key) as [string, string];
      const row = matrix[tool] ??= {};
      row[kind] = (row[kind] ?? 0) + 1;
    }
  }
  return matrix;
}

/** The matrix as lines of text: a row for each tool, a column for each kind that occurs. */
export function matrixLines(matrix: Record<string, Record<string, number>>): string[] {
  const kinds = ARGUMENT_KINDS.filter((kind) => Object.values(matrix).some((row) => row[kind]));
  const names = Object.keys(matrix);
  const width = Math.max(4, ...names.map((name) => name.length));
  const line = (first: string, cells: string[]) =>
    `${first.padEnd(width)}  ${cells.map((cell, i) => cell.padStart(Math.max(kinds[i]!.length, 3))).join("  ")}`;
  return [
    line("tool", [...kinds]),
    ...names.map((name) => line(name, kinds.map((kind) => String(matrix[name]![kind] ?? "-")))),
  ];
}

function combined(tools: string[]): string {
  return [...new Set(tools)].sort().join("+");
}

function keyOf({ tool, kind }: Cell): string {
  return JSON.stringify([tool, kind]);
}
