/**
 * Calls written as Python: `[move_file(source="a", destination='b'), list_directory(path=".")]`, and the literals that
 * they hold. A small reader of its own, so that no code is ever evaluated. Errors are values.
 * @module
 */
import type { Json, JsonObject } from "../events.ts";

/** A call as text spells it. */
export interface WrittenCall {
  name: string;
  arguments: JsonObject;
}

const DEEPEST = 200;

/** Reads a list of calls, with or without its brackets. */
export function readPythonCalls(text: string): { calls: WrittenCall[] } | { error: string } {
  const reader = new Reader(text);
  try {
    return { calls: reader.calls() };
  } catch (error) {
    if (error instanceof Unreadable) return { error: error.message };
    throw error;
  }
}

/** A call as Python; names of arguments that Python cannot spell go into `**{…}`. */
export function pythonCall({ name, arguments: given }: WrittenCall): string {
  const entries = Object.entries(given);
  const plain = entries.filter(([key]) => /^[A-Za-z_]\w*$/.test(key));
  const odd = entries.filter(([key]) => !/^[A-Za-z_]\w*$/.test(key));
  const parts = plain.map(([key, value]) => `${key}=${pythonLiteral(value)}`);
  if (odd.length > 0) parts.push(`**${pythonLiteral(Object.fromEntries(odd))}`);
  return `${name}(${parts.join(", ")})`;
}

/** A value as a Python literal. */
function pythonLiteral(value: Json): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(pythonLiteral).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  return `{${
    Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}: ${pythonLiteral(inner)}`).join(", ")
  }}`;
}

class Unreadable extends Error {}

const ESCAPES: Record<string, string> = { n: "\n", t: "\t", r: "\r", b: "\b", f: "\f", "0": "\0", "\n": "" };
const WORDS: Record<string, Json> = { True: true, False: false, None: null, true: true, false: false, null: null };

class Reader {
  #at = 0;

  constructor(readonly text: string) {}

  calls(): WrittenCall[] {
    const calls: WrittenCall[] = [];
    const bracketed = this.#take("[");
    do {
      if (bracketed && this.#peek() === "]") break;
      calls.push(this.#call());
    } while (this.#take(","));
    if (bracketed) this.#expect("]");
    if (this.#peek() !== "") throw new Unreadable(`text after the calls at character ${this.#at}`);
    return calls;
  }

  #call(): WrittenCall {
    const name = this.#match(/[\w.-]+/y) ?? this.#fail("the name of a tool");
    this.#expect("(");
    const entries: [string, Json][] = [];
    while (!this.#take(")")) {
      if (this.#match(/\*\*(?=\s*\{)/y)) {
        const spread = this.#value(0);
        if (Array.isArray(spread)) this.#fail("a dictionary");
        entries.push(...Object.entries(spread as JsonObject));
      } else {
        const key = this.#match(/[^\s=(),'"[\]{}*]+/y) ?? this.#fail("the name of an argument");
        this.#expect("=");
        entries.push([key, this.#value(0)]);
      }
      if (!this.#take(",") && this.#peek() !== ")") this.#fail('"," or ")"');
    }
    return { name, arguments: Object.fromEntries(entries) };
  }

  #value(depth: number): Json {
    if (depth > DEEPEST) throw new Unreadable("values nested too deep");
    const char = this.#peek();
    if (char === '"' || char === "'") return this.#string(char);
    if (this.#take("[")) return this.#items("]", () => this.#value(depth + 1));
    if (this.#take("(")) return this.#items(")", () => this.#value(depth + 1));
    if (this.#take("{")) return this.#braces(depth + 1);
    const number = this.#match(/[+-]?(\d[\d_]*\.?\d*|\.\d+)([eE][+-]?\d+)?/y);
    if (number) {
      const value = Number(number.replaceAll("_", ""));
      return Number.isFinite(value) ? value : this.#fail("a number that JSON can hold, not one");
    }
    const word = this.#match(/[A-Za-z]+/y);
    return word && Object.hasOwn(WORDS, word) ? WORDS[word]! : this.#fail("a value");
  }

  /** A dictionary, or a set, which JSON has as a list. */
  #braces(depth: number): Json {
    const items = this.#items("}", () => {
      const key = this.#value(depth);
      return this.#take(":") ? [key, this.#value(depth)] as const : [key] as const;
    });
    const isSet = items.length > 0 && items.every((item) => item.length === 1);
    if (isSet) return items.map(([value]) => value);
    return Object.fromEntries(
      items.map(([key, value]) => [String(key), value === undefined ? this.#fail('":"') : value]),
    );
  }

  #items<T>(close: string, item: () => T): T[] {
    const items: T[] = [];
    while (!this.#take(close)) {
      items.push(item());
      if (!this.#take(",") && this.#peek() !== close) this.#fail(`"," or "${close}"`);
    }
    return items;
  }

  #string(quote: string): string {
    const closing = this.text.startsWith(quote.repeat(3), this.#at) ? quote.repeat(3) : quote;
    let value = "";
    for (this.#at += closing.length; this.#at < this.text.length; this.#at++) {
      if (this.text.startsWith(closing, this.#at)) {
        this.#at += closing.length;
        return value;
      }
      value += this.text[this.#at] === "\\" ? this.#escape() : this.text[this.#at];
    }
    throw new Unreadable("a text without its closing quote");
  }

  #escape(): string {
    const next = this.text[++this.#at] ?? "";
    const digits = { x: 2, u: 4, U: 8 }[next];
    if (digits === undefined) return ESCAPES[next] ?? (/["'\\]/.test(next) ? next : `\\${next}`);
    const code = this.text.slice(this.#at + 1, this.#at + 1 + digits);
    if (!/^[0-9a-fA-F]+$/.test(code) || code.length < digits || parseInt(code, 16) > 0x10ffff) this.#fail("an escape");
    this.#at += digits;
    return String.fromCodePoint(parseInt(code, 16));
  }

  #peek(): string {
    while (/\s/.test(this.text[this.#at] ?? "")) this.#at++;
    return this.text[this.#at] ?? "";
  }

  #take(char: string): boolean {
    if (this.#peek() !== char) return false;
    this.#at++;
    return true;
  }

  #expect(char: string): void {
    if (!this.#take(char)) this.#fail(`"${char}"`);
  }

  #match(pattern: RegExp): string | undefined {
    this.#peek();
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  #fail(wanted: string): never {
    throw new Unreadable(`wanted ${wanted} at character ${this.#at}`);
  }
}
