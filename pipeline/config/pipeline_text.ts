/**
 * Whether a text is a pipeline at all. Of any other file, no line is shown: it may hold what is nobody's business.
 * @module
 */
import { config as say, type Diagnostic } from "../diagnostics/mod.ts";
import type { Source } from "./source.ts";

/** Fields of which every pipeline has one. */
const FIELDS = ["name", "stages"];

/** Why the text cannot be read as a map of a pipeline's fields; empty if it can. */
export function textProblems(source: Source): Diagnostic[] {
  const whole = (problem: Diagnostic) => [{ ...problem, file: source.file, line: 1, col: 1 }];
  if (source.text.trim() === "") return whole(say.empty_file());
  const problems = source.syntax();
  const known = source.has(FIELDS);
  if (problems.length > 0) return known ? problems : whole(say.not_a_pipeline());
  if (source.raw === null) return whole(say.empty_file());
  if (typeof source.raw !== "object" || Array.isArray(source.raw)) return whole(say.not_a_map(source.raw));
  return known ? [] : whole(say.not_a_pipeline());
}
