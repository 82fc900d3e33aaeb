/**
 * What a small YAML text can become, bounded before it is expanded: nesting that would break recursion, and aliases that
 * stand for more values than any file is meant to hold.
 * @module
 */
import { type Document, isAlias, isCollection, isPair, isScalar, type Node } from "yaml";
import { sizeOf } from "../diagnostics/mod.ts";

/** Nesting that hone reads. */
export const MAX_DEPTH = 1000;
/** Sequences within sequences on one line. */
const COMPACT = new RegExp(`(?:[-?]\\s){${MAX_DEPTH}}`);

/** A problem, and where it is. */
export interface BoundProblem {
  cause: string;
  range: readonly number[];
}

/** Parsing YAML takes seconds for each megabyte. */
const MAX_CHARS = 10_000_000;

/** Why a text is not parsed at all: its size, or its depth. */
export function unparsable(text: string): BoundProblem | undefined {
  if (text.length <= MAX_CHARS) return nestsTooDeep(text);
  const cause = `it has ${sizeOf(text.length)}: expected at most ${sizeOf(MAX_CHARS)} (JSON lines may have more)`;
  return { cause, range: [0, 1] };
}

/** The beginning of what nests too deep to be parsed; undefined if nothing does. Brackets in texts count too. */
export function nestsTooDeep(text: string): BoundProblem | undefined {
  const compact = COMPACT.exec(text);
  if (compact) return tooDeep(compact.index);
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 91 || code === 123) {
      if (++depth > MAX_DEPTH) return tooDeep(i);
    } else if ((code === 93 || code === 125) && depth > 0) depth--;
  }
  return undefined;
}

function tooDeep(at: number): BoundProblem {
  return { cause: `it is nested more than ${MAX_DEPTH} deep`, range: [at, at + 1] };
}

/** Weight of a value beside its text. */
const NODE = 4;
/** Weight that every file may have, and how often a larger file may repeat itself. */
const MAX_WEIGHT = 4_000_000;
const MAX_TIMES = 4;

/** The first alias that names nothing or itself, or with which the document becomes too large. */
export function aliasProblem(doc: Document, text: string): BoundProblem | undefined {
  const limit = Math.max(MAX_WEIGHT, MAX_TIMES * text.length);
  const anchors = new Map<string, number | "open">();
  let problem: BoundProblem | undefined;
  const found = (cause: string, node: Node): number => {
    problem ??= { cause, range: node.range ?? [0, 1] };
    return 0;
  };
  const weight = (node: unknown): number => {
    if (problem) return 0;
    if (isAlias(node)) {
      const named = anchors.get(node.source);
      if (named === undefined) {
        return found(`there is no anchor &${node.source} before the alias *${node.source}`, node);
      }
      return named === "open" ? found(`the alias *${node.source} stands for a value that it is part of`, node) : named;
    }
    if (isPair(node)) return weight(node.key) + weight(node.value);
    if (!isScalar(node) && !isCollection(node)) return NODE;
    if (node.anchor) anchors.set(node.anchor, "open");
    let sum = NODE + (isScalar(node) ? String(node.source ?? node.value ?? "").length : 0);
    for (const item of isCollection(node) ? node.items : []) {
      sum += weight(item);
      if (sum > limit) return found("its aliases make it too large: expected less repetition", node);
    }
    if (node.anchor) anchors.set(node.anchor, sum);
    return sum;
  };
  weight(doc.contents);
  return problem;
}
