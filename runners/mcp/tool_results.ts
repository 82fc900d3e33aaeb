/** Results of hone's MCP tools: a verb's value, or an error as text that a model can act on. @module */
import type { CallToolResult } from "@modelcontextprotocol/server";
import { diagnosticsOf, render } from "../../pipeline/diagnostics/mod.ts";

/** A tool's result: texts, the same value as structured content, and whether the tool failed. */
export function result(texts: string[], value: unknown, failed: boolean): CallToolResult {
  const content = texts.filter((text) => text !== "").map((text) => ({ type: "text" as const, text }));
  return { content, ...(value !== undefined && { structuredContent: value }), ...(failed && { isError: true }) };
}

/** Turns an error into a result that the model can read and act on. */
export async function answered(work: () => Promise<CallToolResult>): Promise<CallToolResult> {
  try {
    return await work();
  } catch (error) {
    return result([render(diagnosticsOf(error), "text")], undefined, true);
  }
}
