/** Short hashes of JSON values, to tell whether two are the same. @module */
import { createHash } from "node:crypto";
import type { Json } from "../events.ts";
import { canonical } from "./json.ts";

/** A short hash of a JSON value, whatever the order of its keys. */
export function digest(value: Json | object): string {
  return createHash("sha256").update(canonical(value as Json)).digest("hex").slice(0, 16);
}
