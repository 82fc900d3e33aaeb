/**
 * What is made for tests lies under tests/, told by its name: fake, scripted, stub, mock, and files of samples. The one
 * public set of doubles, pipeline/testing.ts, is for plugin authors.
 * @module
 */
import { type Finding, isTest } from "./finding.ts";

const PUBLIC = "pipeline/testing.ts";
const NAME = /^((fake|scripted|stub|mock)s?([_.]|$)|(sample|testing)_)/;
const EXPORT =
  /^(?:export (?:default )?(?:(?:abstract|async|declare) )*(?:class|const|enum|function\*?|interface|let|type)|class|(?:async )?def) (?:[Ff]ake|[Ss]cripted|[Ss]tub|[Mm]ock)(?:[A-Z_]\w*)?\b/gm;

/** Every file outside tests/ whose name, or the name of what it exports, says that it is a test double. */
export function testDoubles(files: ReadonlyMap<string, string>): Finding[] {
  return [...files].flatMap(([file, text]): Finding[] => {
    const parts = file.split("/");
    if (parts.includes("tests") || isTest(file) || file === PUBLIC) return [];
    const finding = { rule: "test doubles", file, wanted: "doubles under tests/fixtures/" } as const;
    const named = parts.find((part) => NAME.test(part));
    if (named) return [{ ...finding, line: 1, problem: `${named} is named as a test double` }];
    return [...text.matchAll(EXPORT)].map((match) => ({
      ...finding,
      line: text.slice(0, match.index).split("\n").length,
      problem: `${match[0].split(" ").at(-1)} is named as a test double`,
    }));
  });
}
