/**
 * Findings that stand until another piece of work mends them. The lists must be empty in the end; an entry that nothing
 * is found for any more is a finding itself.
 * @module
 */
import type { Finding } from "./finding.ts";

/** A rule's findings in one file, or in the folder that ends in `/`. */
export interface Known {
  since: string;
  rule: Finding["rule"];
  under: string;
}

/** What stands today. */
export const KNOWN: Known[] = [
  { since: "2026-11-24", rule: "arrows", under: "runners/verbs/" },
];

/** TypeScript files with functions that are too long, which `deno lint` measures. */
export const KNOWN_LONG: string[] = [
  "pipeline/run/open_run.ts", // since 2026-11-24
];

/** The findings that are not known, and one for every entry that is mended. */
export function withoutKnown(findings: Finding[], known: Known[]): Finding[] {
  const stands = ({ rule, file }: Finding, entry: Known) =>
    rule === entry.rule && (file === entry.under || entry.under.endsWith("/") && file.startsWith(entry.under));
  const mended = known.filter((entry) => !findings.some((finding) => stands(finding, entry)));
  return [
    ...findings.filter((finding) => !known.some((entry) => stands(finding, entry))),
    ...mended.map(({ rule, under }): Finding => ({
      rule,
      file: "tools/structure/known.ts",
      line: 1,
      problem: `nothing is found for ${rule} in ${under} any more`,
      wanted: "the list without this entry",
    })),
  ];
}
