/**
 * A YAML (or JSON) file with the positions of its values: values for the schema, positions for messages.
 * `${NAME}` is read from the environment, `${workdir}` is kept, `$${NAME}` is literal text.
 * @module
 */
import { Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, visit } from "yaml";
import { protectReference } from "../common/redact.ts";
import { codeFrame, config, type Diagnostic, HoneError, messageOf } from "../diagnostics/mod.ts";
import { aliasProblem, type BoundProblem, unparsable } from "./yaml_bounds.ts";

/** Keys and indexes from the root of a file to a value. */
export type Path = (string | number)[];

/** The parser's own recursion. */
const DEEP = /Maximum call stack/;
const REFERENCE = /\$(\$\{[^}]*\})|\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g;

/** `stages[2].with.path`: a field's name in messages. */
export function fieldName(path: Path): string {
  return path.map((key, i) => typeof key === "number" ? `[${key}]` : i === 0 ? key : `.${key}`).join("");
}

/** The value at a path, or undefined. */
export function valueAt(value: unknown, path: Path): unknown {
  let at = value;
  for (const key of path) at = at === null || typeof at !== "object" ? undefined : (at as Record<string, unknown>)[key];
  return at;
}

/** A parsed file and its positions. */
export class Source {
  readonly doc: Document;
  readonly #lines = new LineCounter();
  /** Values as written or overridden, `${…}` unexpanded: safe to show in messages and in the run's record. */
  raw: unknown;
  #problems: BoundProblem[];

  /** `file` is the name shown in messages. */
  constructor(readonly text: string, readonly file: string) {
    const refused = unparsable(text);
    this.doc = refused
      ? new Document()
      : parseDocument(text, { lineCounter: this.#lines, prettyErrors: false, merge: true, logLevel: "error" });
    this.#problems = refused ? [refused] : this.doc.errors.map(({ message, pos }) => ({
      cause: DEEP.test(message) ? "it is nested too deep" : message.replace(/\s+/g, " ").replace(/[.:]$/, ""),
      range: [pos[0], pos[0] + 1],
    }));
    if (this.#problems.length === 0) this.#problems = [aliasProblem(this.doc, text) ?? []].flat();
    if (this.#problems.length > 0) return;
    try {
      this.raw = this.value();
    } catch (error) {
      // Such as a merge (`<<`) of what is no map.
      this.#problems = [{ cause: messageOf(error), range: [0, 1] }];
    }
  }

  /** Whether one of these is a field of the file; of one that cannot be parsed, whether a line looks like it. */
  has(fields: string[]): boolean {
    if (this.raw !== undefined) return isMap(this.doc.contents) && fields.some((field) => this.doc.has(field));
    const any = fields.join("|");
    return new RegExp(/^\s*\{/.test(this.text) ? `"(${any})"\\s*:` : `^(${any})\\s*:(\\s|$)`, "m").test(this.text);
  }

  /** Sets a value as if it were written in the file. Throws if `path` leads through a value that holds no fields. */
  override(path: Path, value: unknown): void {
    this.doc.setIn(path, this.doc.createNode(value));
    this.raw = this.value();
  }

  /** Why the text cannot be read, with positions: its syntax, or what it would become. */
  syntax(): Diagnostic[] {
    return this.#problems.map(({ cause, range }) => this.#place(config.yaml_syntax(cause), range));
  }

  /** Replaces `${NAME}` in every string by the environment's value; reports unset variables that are not spared. */
  interpolate(env: Record<string, string>, spared: (field: string) => boolean = () => false): Diagnostic[] {
    const problems: Diagnostic[] = [];
    visit(this.doc, {
      Scalar: (key, node, parents) => {
        if (key === "key" || typeof node.value !== "string" || !node.value.includes("${")) return;
        const whole = node.value;
        const text = whole.replace(REFERENCE, (match, escaped: string | undefined, name: string | undefined) => {
          if (escaped) return escaped;
          if (name === "workdir") return match;
          const field = fieldName(pathOf([...parents, node]));
          const value = env[name!];
          if (value !== undefined) {
            protectReference(name!, value, field);
            return value;
          }
          if (!spared(field)) problems.push(this.#place(config.env_not_set(name!, field), node.range ?? [0, 0]));
          return match;
        });
        node.value = node.type === "PLAIN" && /^\$\{\w+\}$/.test(whole) ? plain(text) : text;
      },
    });
    return problems;
  }

  /** Values after expansion. */
  value(): unknown {
    // The constructor has bounded what aliases stand for.
    return this.doc.toJS({ maxAliasCount: -1 });
  }

  /**
   * Adds a field's position to a diagnostic: of its value, or of its key. A missing field has its parent's position.
   */
  at(diagnostic: Diagnostic, path: Path, side: "key" | "value" = "value"): Diagnostic {
    let node: unknown = this.doc.contents;
    let range = (node as Node | null)?.range ?? [0, 1];
    let holder: readonly number[] = [range[0], range[0] + 1];
    for (const [i, step] of path.entries()) {
      if (isAlias(node)) node = node.resolve(this.doc);
      if (isMap(node)) {
        const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
        if (!pair) return this.#place(diagnostic, holder);
        const key = (pair.key as Node).range!;
        const value = (pair.value as Node | null)?.range;
        holder = key;
        range = (i === path.length - 1 && side === "key") || !value || value[0] === value[1] ? key : value;
        node = pair.value;
      } else if (isSeq(node) && node.items[Number(step)]) {
        node = node.items[Number(step)];
        range = (node as Node).range ?? range;
        holder = [range[0], range[0] + 1];
      } else return this.#place(diagnostic, holder);
    }
    return this.#place(diagnostic, range);
  }

  #lineOf(at: number): { line: number; col: number } {
    if (this.#lines.lineStarts.length > 0) return this.#lines.linePos(at);
    // Nothing was parsed.
    const before = this.text.slice(0, at).split("\n");
    return { line: before.length, col: before.at(-1)!.length + 1 };
  }

  #place(diagnostic: Diagnostic, range: readonly number[]): Diagnostic {
    const start = Math.min(range[0] ?? 0, this.text.length);
    const { line, col } = this.#lineOf(start);
    const length = this.text.slice(start, Math.max(start + 1, range[1] ?? 0)).split("\n")[0]!.length;
    const frame = codeFrame(this.text, line, col, length);
    return { ...diagnostic, file: this.file, line, col, frame };
  }
}

/** A plain scalar that is entirely a variable becomes a number or boolean if it looks like one. */
function plain(text: string): string | number | boolean {
  if (text === "true" || text === "false") return text === "true";
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}

/** The path of the last of these nested nodes. */
function pathOf(nodes: readonly unknown[]): Path {
  const path: Path = [];
  for (const [i, node] of nodes.entries()) {
    if (isSeq(node)) path.push(node.items.indexOf(nodes[i + 1] as Node));
    const key = (node as { key?: unknown } | null)?.key;
    if (isScalar(key)) path.push(String(key.value));
  }
  return path;
}

/**
 * The values of a YAML or JSON text. Throws a HoneError with the positions of its problems, without lines of the text:
 * it may be no file of hone's.
 */
export function readYaml(text: string, file: string): unknown {
  const source = new Source(text, file);
  const problems = source.syntax();
  if (problems.length > 0) throw new HoneError(problems.map(({ frame: _, ...problem }) => problem));
  return source.raw;
}
