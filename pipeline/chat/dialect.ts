/**
 * Fields that an endpoint does not accept, learned from its error responses: OpenAI's newer models require
 * `max_completion_tokens`, some servers do not support `seed`. Only a field whose value has no effect is omitted; an
 * unsupported temperature remains an error. Kept per address and model for the lifetime of the process.
 * @module
 */
import type { JsonObject } from "../events.ts";
import type { Policy } from "../plugin.ts";

/** How requests to one model at one address are written. */
export interface Dialect {
  max: "max_tokens" | "max_completion_tokens";
  /** Fields that it refuses. */
  without: Set<string>;
}

/** Fields that may be left out, with the value at which that changes nothing; a seed only makes runs repeatable. */
const NEUTRAL: Record<string, (value: unknown) => boolean> = {
  seed: () => true,
  temperature: (value) => value === 1,
  top_p: (value) => value === 1,
  top_k: (value) => value === -1,
  min_p: (value) => value === 0,
};

const learned = new Map<string, Dialect>();

/** The dialect of an endpoint of which nothing is known. */
export function plainDialect(): Dialect {
  return { max: "max_tokens", without: new Set() };
}

/** The dialect of a policy's endpoint, as far as it is known. */
export function dialectOf({ base_url, model }: Policy): Dialect {
  const key = `${base_url} ${model}`;
  const known = learned.get(key) ?? plainDialect();
  learned.set(key, known);
  return known;
}

/** The body as the endpoint takes it. */
export function inDialect(body: JsonObject, { max, without }: Dialect): JsonObject {
  return Object.fromEntries(
    Object.entries(body).filter(([key]) => !without.has(key))
      .map(([key, value]) => [key === "max_tokens" ? max : key, value]),
  );
}

/**
 * Learns from a refusal; true where another try may succeed. `spare` are fields that nobody asked for: they may be left
 * out whatever their value.
 */
export function learn(
  dialect: Dialect,
  body: JsonObject,
  refusal: { status: number; reason: string },
  spare: readonly string[] = [],
): boolean {
  if (refusal.status !== 400 && refusal.status !== 422) return false;
  if (dialect.max === "max_tokens" && refusal.reason.includes("max_completion_tokens")) {
    dialect.max = "max_completion_tokens";
    return true;
  }
  if (
    !/unsupported|unknown|unrecogni[sz]ed|extra|deprecated|not (?:be )?(?:supported|permitted|allowed)|does not support/i
      .test(
        refusal.reason,
      )
  ) {
    return false;
  }
  const field = Object.keys(NEUTRAL).find((name) => new RegExp(`\\b${name}\\b`).test(refusal.reason));
  if (!field || dialect.without.has(field) || !(field in body)) return false;
  if (!spare.includes(field) && !NEUTRAL[field]!(body[field])) return false;
  dialect.without.add(field);
  return true;
}
