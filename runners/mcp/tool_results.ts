/** Results of hone's MCP tools: a verb's value, or an error as text that a model can act on. @module */
import type { CallToolResult } from "@modelcontextprotocol/server";
import { asObject } from "../../pipeline/common/json.ts";
import { HoneError, render } from "../../pipeline/diagnostics/mod.ts";

/** A tool's result: texts, the same value as structured content, and whether the tool failed. */
export function result(texts: string[], value: unknown, failed: boolean): CallToolResult {
  const content = texts.filter((text) => text !== "").map((text) => ({ type: "text" as const, text }));
  return { content, ...(value !== undefined && { structuredContent: value }), ...(failed && { isError: true }) };
}

/** The JSON object in a text, if there is one. */
export function objectIn(text: string): Record<string, unknown> | undefined {
  try {
    return asObject(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Turns a HoneError into a result that the model can read and act on. */
export async function answered(work: () => Promise<CallToolResult>): Promise<CallToolResult> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof HoneError)) throw error;
    return result([render(error.diagnostics, "text")], undefined, true);
  }
}
