/** An event as one line for a person. @module */
import type { Envelope } from "../../pipeline/events.ts";
import { oneLine } from "../verbs/table.ts";

/** Time, number, name, and the short fields of its payload. */
export function eventLine({ seq, at, type, source, data }: Envelope): string {
  const time = new Date(at).toISOString().slice(11, 19);
  return `${time} ${String(seq).padStart(6)} ${type.padEnd(20)} ${source}: ${oneLine(words(data), 140)}`;
}

function words(data: object): string {
  return Object.entries(data).flatMap(([name, value]) => {
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") {
      return [`${name}=${oneLine(value, 60)}`];
    }
    if (name === "turn" || name === "call" || name === "outcome") return [words(value)];
    return [];
  }).join(" ");
}
