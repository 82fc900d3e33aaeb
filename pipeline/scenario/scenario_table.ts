/**
 * Scenarios from CSV: a header with the names of fields, one scenario a row. `answer.equals` is a field in a field; a
 * cell of a list or a map holds JSON; an empty cell is a field that is not there. Every problem has the line and the
 * column of its cell.
 * @module
 */
import { CsvError, parse } from "csv-parse/sync";
import { Buffer } from "node:buffer";
import type { z } from "zod";
import { isObject } from "../common/json.ts";
import { explain, jsonSchema } from "../config/issues.ts";
import type { Path } from "../config/source.ts";
import { MAX_DEPTH, nestsTooDeep } from "../config/yaml_bounds.ts";
import { codeFrame, type Diagnostic, messageOf, scenarios as say } from "../diagnostics/mod.ts";
import type { Entry } from "./scenario_entry.ts";

/** A cell: its text, and the bytes of the file that it takes, quotes included. */
interface Cell {
  text: string;
  start: number;
  end: number;
}

type JsonSchema = { [key: string]: unknown };

/** The entries of a table; problems of its form are added to `problems`. */
export function tableEntries(text: string, name: string, schema: z.ZodType, problems: Diagnostic[]): Entry[] {
  const table = new Table(text, name);
  let rows: Cell[][];
  try {
    rows = table.rows();
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    problems.push(table.atLine(say.csv_syntax(messageOf(error)), Number(error.lines) || 1));
    return [];
  }
  const [header = [], ...body] = rows;
  const before = problems.length;
  problems.push(...headerProblems(table, header, schema));
  if (problems.length > before) return [];
  const columns = header.map(({ text }) => text.trim().split("."));
  const shape = jsonSchema(schema);
  return body.flatMap((cells) => {
    if (cells.length > columns.length) {
      problems.push(table.at(say.csv_cells(cells.length, columns.length), cells[columns.length]!));
      return [];
    }
    return rowEntry(table, cells, { columns, shape, schema, problems }) ?? [];
  });
}

function headerProblems(table: Table, header: Cell[], schema: z.ZodType): Diagnostic[] {
  const names = header.map(({ text }) => text.trim());
  const problems = header.flatMap((cell, index) => {
    const first = names.indexOf(names[index]!);
    const whole = names.find((name) => name !== "" && names[index]!.startsWith(`${name}.`));
    const odd = names[index] === ""
      ? say.csv_unnamed(index + 1)
      : first < index
      ? say.csv_twice(names[index]!)
      : whole !== undefined
      ? say.csv_within(names[index]!, whole)
      : null;
    return odd ? [table.at(odd, cell)] : [];
  });
  if (problems.length > 0) return problems;
  // Of a row with a text in every cell, only the fields that do not exist say something about the header.
  const filled = assembled(header.map(({ text }) => ({ path: text.trim().split("."), value: "x" })));
  const unknown = schema.safeParse(filled).error?.issues.filter(({ code }) => code === "unrecognized_keys") ?? [];
  return explain(unknown, table.source(filled, header, header), schema);
}

function rowEntry(
  table: Table,
  cells: Cell[],
  { columns, shape, schema, problems }: {
    columns: string[][];
    shape: JsonSchema;
    schema: z.ZodType;
    problems: Diagnostic[];
  },
): Entry | undefined {
  const before = problems.length;
  const fields = columns.flatMap((path, index) => {
    const cell = cells[index];
    if (!cell || cell.text === "") return [];
    try {
      return [{ path, value: cellValue(cell.text, schemaAt(shape, path)), cell }];
    } catch (error) {
      problems.push(table.at(say.csv_json(path.join("."), messageOf(error)), cell));
      return [];
    }
  });
  if (problems.length > before) return undefined;
  const value = assembled(fields);
  const source = table.source(value, cells, fields.map(({ cell }) => cell), fields.map(({ path }) => path));
  return { value, locate: source.at, explain: (issues) => explain(issues, source, schema) };
}

/** The value of a cell: what the field's type makes of it. Throws where it is no JSON. */
function cellValue(text: string, { type, items }: JsonSchema): unknown {
  if (type === "string") return text;
  const ofTexts = type === "array" && isObject(items) && items.type === "string";
  if (ofTexts && !text.trim().startsWith("[")) return text.split(",").map((part) => part.trim());
  try {
    if (nestsTooDeep(text)) throw new Error(`it is nested more than ${MAX_DEPTH} deep`);
    return JSON.parse(text);
  } catch (error) {
    if (type === "array" || type === "object") throw error;
    return text;
  }
}

/** The schema of a field, as far as `properties` lead to it. */
function schemaAt(schema: JsonSchema, path: string[]): JsonSchema {
  let at: unknown = schema;
  for (const step of path) {
    const inner = isObject(at) ? at.properties : undefined;
    at = isObject(inner) && Object.hasOwn(inner, step) ? inner[step] : undefined;
  }
  return isObject(at) ? at : {};
}

/** Fields by their paths as one value. */
function assembled(fields: { path: string[]; value: unknown }[]): Record<string, unknown> {
  const whole: Record<string, unknown> = Object.create(null);
  for (const { path, value } of fields) {
    let at = whole;
    for (const step of path.slice(0, -1)) {
      if (!isObject(at[step])) at[step] = Object.create(null);
      at = at[step] as Record<string, unknown>;
    }
    at[path.at(-1)!] = value;
  }
  return whole;
}

/** The text of a table, and positions in it. */
class Table {
  readonly #bytes: Buffer;

  constructor(readonly text: string, readonly name: string) {
    this.#bytes = Buffer.from(text);
  }

  /** Every row that is not empty. Throws a CsvError. */
  rows(): Cell[][] {
    let start = 0;
    const options = { skip_empty_lines: true, relax_column_count: true, info: true } as const;
    const parsed = parse(this.text, {
      ...options,
      cast: (text, { index, bytes: end }) => {
        if (index === 0) { while (start < end && (this.#bytes[start] === 10 || this.#bytes[start] === 13)) start++; }
        const cell = { text, start, end };
        start = end + 1;
        return cell as unknown as string;
      },
    });
    return (parsed as unknown as { record: Cell[] }[]).map(({ record }) => record);
  }

  /** The problem with the position of a cell. */
  at(diagnostic: Diagnostic, { start, end }: Cell): Diagnostic {
    const before = this.#bytes.subarray(0, start).toString().split(/\r\n|\n|\r/);
    const [line, col] = [before.length, before.at(-1)!.length + 1];
    const length = this.#bytes.subarray(start, end).toString().length;
    return { ...diagnostic, file: this.name, line, col, frame: codeFrame(this.text, line, col, length) };
  }

  /** The problem with the position of a line. */
  atLine(diagnostic: Diagnostic, line: number): Diagnostic {
    return { ...diagnostic, file: this.name, line, col: 1, frame: codeFrame(this.text, line, 1, 1) };
  }

  /** A value of these cells, one for each path, as a source of positions; what has no cell is at the row's beginning. */
  source(raw: unknown, row: Cell[], cells: Cell[], paths = cells.map(({ text }) => text.trim().split("."))) {
    const isPrefix = (of: Path, path: string[]) => path.every((step, index) => String(of[index]) === step);
    return {
      raw,
      at: (diagnostic: Diagnostic, path: Path): Diagnostic => {
        const exact = paths.findIndex((one) => isPrefix(path, one));
        // A field whose parts are in several columns is at the first of them.
        const within = exact >= 0 ? exact : paths.findIndex((one) => isPrefix(one, path.map(String)));
        const cell = path.length === 0 || within < 0 ? { ...row[0]!, end: row[0]!.start + 1 } : cells[within]!;
        return this.at(diagnostic, cell);
      },
    };
  }
}
