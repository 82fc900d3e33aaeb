/**
 * Regular expressions from files and servers. They have JavaScript's syntax (with the flag `u`), without look-around and
 * backreferences, and are matched in time linear in the length of the text, by an implementation of RE2: no pattern
 * and no text can block the process.
 * @module
 */
import { RE2JS } from "re2js";
import { messageOf } from "../diagnostics/mod.ts";

/** A pattern that is not used; the message says why and completes "must be a regular expression". */
export class BadPattern extends Error {
  override name = "BadPattern";

  /** `unsupported` is what RE2 does not have, if the pattern is valid in JavaScript. */
  constructor(readonly unsupported?: string) {
    super(unsupported === undefined ? "" : ` that can be matched in linear time: ${unsupported} not supported`);
  }
}

/** A text is too long for a pattern as complex as this one. */
export class PatternTooCostly extends Error {
  override name = "PatternTooCostly";
}

/** A compiled pattern. */
export interface Pattern {
  readonly source: string;
  /** Whether some part of the text matches. Throws PatternTooCostly. */
  test(text: string): boolean;
}

/** Instructions of a compiled pattern; matching takes at most one step per instruction and character. */
const MAX_INSTRUCTIONS = 10_000;
/** Steps for one text: a few seconds. */
const MAX_STEPS = 1_000_000_000;
const MAX_KNOWN = 1000;
const known = new Map<string, Pattern | BadPattern>();

/** Compiles a pattern. Throws BadPattern. */
export function compilePattern(source: string): Pattern {
  let found = known.get(source);
  if (!found) {
    found = compiled(source);
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(source, found);
  }
  if (found instanceof BadPattern) throw found;
  return found;
}

/** Why a pattern cannot be used, completing "must be a regular expression"; undefined for one that can. */
export function patternProblem(source: string): string | undefined {
  try {
    compilePattern(source);
  } catch (error) {
    return messageOf(error);
  }
}

function compiled(source: string): Pattern | BadPattern {
  if (!isJavaScript(source)) return new BadPattern();
  const unsupported = unsupportedIn(source);
  if (unsupported) return new BadPattern(unsupported);
  let engine: RE2JS;
  try {
    engine = RE2JS.compile(RE2JS.translateRegExp(translated(source)));
  } catch (error) {
    return new BadPattern(`${messageOf(error).replace(/^error parsing regexp: /, "")} is`);
  }
  const instructions = engine.programSize();
  if (instructions > MAX_INSTRUCTIONS) return new BadPattern("repetitions of this size are");
  return {
    source,
    test(text) {
      if (text.length * instructions > MAX_STEPS) {
        throw new PatternTooCostly(`a text of ${text.length} characters is too long for the pattern /${source}/`);
      }
      return engine.test(text);
    },
  };
}

/** Only parses: `RegExp` matches nothing here. Schemas of servers may be written for RegExp without `u`. */
function isJavaScript(source: string): boolean {
  for (const flags of ["u", ""]) {
    try {
      new RegExp(source, flags);
      return true;
    } catch {
      // tried with the other flags
    }
  }
  return false;
}

const NAMES: [RegExp, string][] = [
  [/^\(\?[=!]/, "look-ahead is"],
  [/^\(\?<[=!]/, "look-behind is"],
  [/^\\(?:[1-9]|k<)/, "a backreference is"],
];

/** What RE2 does not have, outside of character classes. */
function unsupportedIn(source: string): string | undefined {
  return parts(source).flatMap(({ text, in_class }) =>
    in_class ? [] : NAMES.filter(([start]) => start.test(text)).map(([, name]) => name)
  )[0];
}

const SPACE = "\\t-\\r \\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}\\x{feff}";
const NOT_SPACE =
  "\\x{0}-\\x{8}\\x{e}-\\x{1f}!-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}" +
  "\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{fefe}\\x{ff00}-\\x{10ffff}";
const CLASSES: Record<string, string> = { "\\s": SPACE, "\\S": NOT_SPACE };

/** What means something else in RE2: JavaScript's white space and line ends are more characters. */
function translated(source: string): string {
  const dot_is_all = /\(\?[im]*s/.test(source);
  return parts(source).map(({ text, in_class }) => {
    const space = CLASSES[text];
    if (space) return in_class ? space : `[${space}]`;
    if (text === "\\b" && in_class) return "\\x08";
    return text === "." && !in_class && !dot_is_all ? "[^\\n\\r\\x{2028}\\x{2029}]" : text;
  }).join("");
}

/** A pattern as a sequence of escapes, openings of groups, and single characters. */
function parts(source: string): { text: string; in_class: boolean }[] {
  let in_class = false;
  return [...source.matchAll(/\\(?:k<|[^])|\(\?<?[=!]|[^]/gu)].map(([text]) => {
    const part = { text, in_class };
    if (text === "[") in_class = true;
    else if (text === "]") in_class = false;
    return part;
  });
}
