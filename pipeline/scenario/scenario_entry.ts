/** One scenario as a file has it: its value, and where its fields are. @module */
import type { z } from "zod";
import type { Path } from "../config/source.ts";
import type { Diagnostic } from "../diagnostics/mod.ts";

/** One value of a file, with its position for problems. */
export interface Entry {
  value: unknown;
  /** Adds the position of this value to a problem. */
  locate(diagnostic: Diagnostic, path: Path): Diagnostic;
  /** Problems of its fields. */
  explain(issues: readonly z.core.$ZodIssue[]): Diagnostic[];
}
