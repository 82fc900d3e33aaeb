/**
 * Files that import each other in a circle. Imports of types count; lazy ones do not, for nothing waits for them while
 * files load. Of files that reach each other in many ways one shortest circle is shown at a time.
 * @module
 */
import type { Finding, Import } from "./finding.ts";

/** One finding for every set of files that all reach each other. */
export function circles(imports: readonly Import[]): Finding[] {
  const edges = imports.filter(({ lazy }) => !lazy);
  const uses = neighbours(edges.map(({ file, target }) => [file, target]));
  const used_by = neighbours(edges.map(({ file, target }) => [target, file]));
  const seen = new Set<string>();
  const found: Finding[] = [];
  for (const start of [...uses.keys()].sort()) {
    if (seen.has(start)) continue;
    const back = reached(start, used_by);
    const members = [...reached(start, uses).keys()].filter((file) => back.has(file)).sort();
    if (members.length === 0) continue;
    for (const file of members) seen.add(file);
    const circle = members.map((file) => circleThrough(file, uses)).toSorted((a, b) => a.length - b.length)[0]!;
    const line = edges.find(({ file, target }) => file === circle[0] && target === circle[1])!.line;
    const more = members.length - (circle.length - 1);
    found.push({
      rule: "circles",
      file: circle[0]!,
      line,
      problem: `a circle of files: ${circle.join(" → ")}${more > 0 ? ` (and ${more} more that reach each other)` : ""}`,
      wanted: "files that import one way; move what both need into a file of its own",
    });
  }
  return found;
}

function neighbours(pairs: [string, string][]): Map<string, string[]> {
  return new Map([...Map.groupBy(pairs, ([from]) => from)].map(([from, all]) => [from, all.map(([, to]) => to)]));
}

/** What can be reached from a file in one step or more, each with the file before it on a shortest way. */
function reached(start: string, edges: Map<string, string[]>): Map<string, string> {
  const before = new Map<string, string>();
  const queue = [start];
  for (const file of queue) {
    for (const next of edges.get(file) ?? []) {
      if (before.has(next)) continue;
      before.set(next, file);
      queue.push(next);
    }
  }
  return before;
}

/** A shortest way from a file back to it. */
function circleThrough(file: string, uses: Map<string, string[]>): string[] {
  const before = reached(file, uses);
  const circle = [file];
  do circle.unshift(before.get(circle[0]!)!); while (circle[0] !== file);
  return circle;
}
