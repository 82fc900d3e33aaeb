/**
 * A tool result as text for the model: all text content, and a line for each part that is not text. The full result is
 * kept for judges and the store.
 * @module
 */
import type { Json, JsonObject } from "../../events.ts";

/** Text of an MCP result's `content` (or of its structured content, where that is all there is). */
export function resultText(result: { content?: unknown; structuredContent?: unknown }): string {
  const blocks = Array.isArray(result.content) ? result.content : [];
  if (blocks.length === 0 && result.structuredContent !== undefined) return JSON.stringify(result.structuredContent);
  return blocks.map((block) => blockText(block as JsonObject)).join("\n");
}

/** Text of what `resources/read` returned. */
export function resourceText(contents: unknown): string {
  const parts = (Array.isArray(contents) ? contents : []).map((one) => embedded(one as JsonObject));
  return parts.length === 0 ? "[a resource without content]" : parts.join("\n");
}

function blockText(block: JsonObject): string {
  switch (block?.type) {
    case "text":
      return String(block.text ?? "");
    case "image":
    case "audio":
      return `[${block.type}: ${block.mimeType ?? "unknown type"}, ${base64Bytes(block.data)} bytes]`;
    case "resource_link":
      return `[resource: ${block.uri}${block.name ? ` (${block.name})` : ""}]`;
    case "resource":
      return embedded((block.resource ?? {}) as JsonObject);
    default:
      return `[${block?.type ?? "unknown content"}]`;
  }
}

function embedded(resource: JsonObject): string {
  if (typeof resource.text === "string") return `[resource: ${resource.uri}]\n${resource.text}`;
  // A directory, for one, has neither text nor bytes.
  if (resource.blob === undefined) return `[resource: ${resource.uri}, ${resource.mimeType ?? "without content"}]`;
  return `[resource: ${resource.uri}, ${resource.mimeType ?? "unknown type"}, ${base64Bytes(resource.blob)} bytes]`;
}

function base64Bytes(data: Json | undefined): number {
  if (typeof data !== "string") return 0;
  return Math.floor(data.length * 3 / 4) - (data.endsWith("==") ? 2 : data.endsWith("=") ? 1 : 0);
}
