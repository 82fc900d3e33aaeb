/**
 * Rendering of diagnostics: code frames with a caret, and the formats for people, programs and GitHub annotations.
 * In text from servers and files, control characters are escaped and secrets that hone handed out are redacted.
 * @module
 */
import { withoutHanded } from "../common/redact.ts";
import { visible } from "../common/visible.ts";
import type { Diagnostic } from "./diagnostic.ts";

/** Longest line that a frame shows in full. */
const FRAME_WIDTH = 160;

/** The line at `line`:`col` (1-based) with a caret below it. */
export function codeFrame(text: string, line: number, col: number, length = 1): string {
  const source = text.split(/\r?\n/)[line - 1] ?? "";
  const shown = source.length > FRAME_WIDTH ? source.slice(0, FRAME_WIDTH) + "…" : source;
  const gutter = String(line).padStart(4);
  const pad = shown.slice(0, col - 1).replace(/[^\t]/g, " ");
  const carets = "^".repeat(Math.max(1, Math.min(length, shown.length - col + 1)));
  return `${gutter} | ${shown}\n     | ${pad}${carets}`;
}

/** `file:line:col`, or the parts of it that are known. */
export function place(d: Diagnostic): string {
  return [d.file, d.line, d.col].filter((part) => part !== undefined).join(":");
}

function asText(d: Diagnostic): string {
  const where = place(d);
  const lines = [`${where ? where + " " : ""}error[${d.code}] ${d.message}`];
  if (d.frame) lines.push(d.frame);
  if (d.hint) lines.push(`  hint: ${d.hint}`);
  return lines.join("\n");
}

/** Escapes as GitHub's workflow commands require. */
function escape(text: string, property = false): string {
  const data = text.replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
  return property ? data.replaceAll(":", "%3A").replaceAll(",", "%2C") : data;
}

function asGithub(d: Diagnostic): string {
  const properties = [
    d.file && `file=${escape(d.file, true)}`,
    d.line && `line=${d.line}`,
    d.col && `col=${d.col}`,
    `title=${escape(d.code, true)}`,
  ].filter(Boolean).join(",");
  return `::error ${properties}::${escape(d.hint ? `${d.message} (${d.hint})` : d.message)}`;
}

function texts(d: Diagnostic, of: (text: string) => string): Diagnostic {
  return { ...d, message: of(d.message), ...(d.frame && { frame: of(d.frame) }), ...(d.hint && { hint: of(d.hint) }) };
}

/** Diagnostics as text for people, JSON for programs, or workflow commands for GitHub. No closing newline. */
export function render(given: Diagnostic[], format: "text" | "json" | "github" = "text"): string {
  const diagnostics = given.map((one) => texts(one, withoutHanded));
  if (format === "json") return JSON.stringify(diagnostics, null, 2);
  return diagnostics.map((one) => texts(one, visible)).map(format === "github" ? asGithub : asText).join(
    format === "github" ? "\n" : "\n\n",
  );
}
