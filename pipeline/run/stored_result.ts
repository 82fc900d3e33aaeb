/**
 * Tool results as they are recorded and judged: whole up to `limits.result_bytes`, longer ones as their beginning, with
 * a visible mark and the hash of the whole.
 * @module
 */
import { createHash } from "node:crypto";
import type { Json, JsonObject, ToolCallRecord } from "../events.ts";

/** A cut result keeps the form of an MCP result. `cut` describes the whole: its JSON. */
interface CutResult extends JsonObject {
  content: JsonObject[];
  isError: boolean;
  cut: { bytes: number; sha256: string };
}

/** The record with a result of at most about `max_bytes`. */
export function withBoundedResult(call: ToolCallRecord, max_bytes: number): ToolCallRecord {
  const text = JSON.stringify(call.result);
  // A UTF-16 unit has at most three bytes.
  if (text === undefined || text.length * 3 <= max_bytes) return call;
  const whole = new TextEncoder().encode(text);
  if (whole.length <= max_bytes) return call;
  const result: CutResult = {
    content: [{ type: "text", text: beginning(call, max_bytes, whole.length) }],
    isError: call.outcome !== "ok",
    cut: { bytes: whole.length, sha256: createHash("sha256").update(whole).digest("hex") },
  };
  return { ...call, result };
}

/** Text of the result's text parts, or else of its JSON, up to the limit. */
function beginning({ result }: ToolCallRecord, max_bytes: number, bytes: number): string {
  const { content } = (typeof result === "object" && result !== null ? result : {}) as { content?: Json };
  const texts = (Array.isArray(content) ? content : []).flatMap((part) => {
    const { text } = (part ?? {}) as JsonObject;
    return typeof text === "string" ? [text] : [];
  });
  const text = texts.length > 0 ? texts.join("\n") : JSON.stringify(result);
  const kept = new TextDecoder().decode(new TextEncoder().encode(text.slice(0, max_bytes)).subarray(0, max_bytes));
  return `${kept.replace(/\ufffd+$/, "")}\n[cut: the whole result has ${bytes} bytes]`;
}
