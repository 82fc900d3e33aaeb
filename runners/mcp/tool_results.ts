/** Results of hone's MCP tools: what a verb wrote, and what hone refuses, as text that a model can act on. @module */
import type { CallToolResult } from "@modelcontextprotocol/server";
import { HoneError, render } from "../../pipeline/diagnostics/mod.ts";

/** A tool's result; an object in JSON is structured content too. */
export function result(out: string, err: string, failed: boolean): CallToolResult {
  const content = [out, err].filter((text) => text !== "").map((text) => ({ type: "text" as const, text }));
  return { content, ...structured(out), ...(failed && { isError: true }) };
}

function structured(text: string): { structuredContent?: Record<string, unknown> } {
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === "object" && !Array.isArray(value) ? { structuredContent: value } : {};
  } catch {
    return {};
  }
}

/** What hone refuses is a result that the model can read and act on. */
export async function answered(work: () => Promise<CallToolResult>): Promise<CallToolResult> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof HoneError)) throw error;
    return result(render(error.diagnostics, "text"), "", true);
  }
}
