/**
 * The format of a tape: JSON lines, append-only, with a header first. A `rollout` line starts a rollout's sequence
 * (again, if a resumed run repeated it); calls, observations and replies belong to the last one of their name, `llm`
 * lines to none. Texts are masked: they contain no paths of the run and no secrets. Lines contain no times and no
 * random names.
 * @module
 */
import { z } from "zod";
import type { CallOutcome, Catalog, Json, JsonObject, Scenario } from "../events.ts";
import { digest } from "../common/digest.ts";

/** The version that this hone writes, and the newest that it reads. */
export const TAPE_VERSION = 1;
/** Name of a tape in a folder that is named instead of it. */
export const TAPE_FILE = "tape.jsonl";
const SHOWN_CHARS = 120;

const json = z.custom<Json>((value) => value !== undefined);
const object = z.custom<JsonObject>((value) => typeof value === "object" && value !== null);
const place = { rollout: z.string(), after: z.int().min(0) };
const digests = z.object({ messages: z.string(), tools: z.string(), settings: z.string() });

const header = z.object({ type: z.literal("tape"), version: z.int(), hone: z.string(), pipeline: z.string() });

const call = z.object({
  type: z.literal("call"),
  ...place,
  server: z.string(),
  tool: z.string(),
  arguments: object,
  outcome: z.custom<CallOutcome>((value) => typeof value === "string"),
  text: z.string(),
  result: json,
  seconds: z.number(),
});

const reply = z.object({
  type: z.literal("reply"),
  ...place,
  /** Digests of what the model was asked. */
  asked: digests,
  /** The last message of the conversation, cut, for people. */
  last: z.string(),
  status: z.int(),
  body: json,
  /** Longest context of the policy, where known: what a rollout asks depends on it. */
  context_tokens: z.int().optional(),
});

const observation = z.object({
  type: z.literal("observation"),
  rollout: z.string(),
  judge: z.string(),
  observation: json.optional(),
  /** Why there is none, where the judge could not observe. */
  failed: z.string().optional(),
});

const llm = z.object({
  type: z.literal("llm"),
  /** Digest of `request`. */
  key: z.string(),
  /** The stage that asked. */
  stage: z.string(),
  request: object,
  /** `ok`, or the code of what went wrong. */
  outcome: z.string(),
  reply: z.object({
    text: z.string(),
    json: json.optional(),
    model: z.string(),
    prompt_tokens: z.number(),
    output_tokens: z.number(),
    seconds: z.number(),
    cached: z.boolean(),
  }).optional(),
  /** What went wrong, where there is no reply. */
  failed: z.object({ message: z.string(), hint: z.string().optional() }).optional(),
});

/** Schema of a line. */
export const tape_line = z.discriminatedUnion("type", [
  header,
  z.object({
    type: z.literal("catalog"),
    server: z.string(),
    catalog: z.custom<Catalog>((value) => typeof value === "object" && value !== null && "tools" in value),
  }),
  z.object({
    type: z.literal("rollout"),
    rollout: z.string(),
    /** Digest of what the world of the rollout depends on. */
    scenario: z.string(),
    /**
     * Characters of the path behind `${workdir}`: a replay shows one as long, so that results are cut where they were.
     */
    workdir_chars: z.int().nullable(),
  }),
  call,
  observation,
  reply,
  llm,
]);

/** A line of a tape. */
export type TapeLine = z.output<typeof tape_line>;
/** One tool call. `after` is how many calls of the rollout had been answered when it was made. */
export type TapedCall = z.output<typeof call>;
/** One reply of the model. `after` counts replies as in `TapedCall`. */
export type TapedReply = z.output<typeof reply>;
/** What a judge observed. */
export type TapedObservation = z.output<typeof observation>;

/** What a language model answered to a stage. */
export type TapedLlm = z.output<typeof llm>;

/** What a call is matched by. */
export type AskedCall = Pick<TapedCall, "server" | "tool" | "arguments">;
/** What a reply is matched by. */
export type AskedReply = Pick<TapedReply, "asked" | "last">;

/** A rollout's name on a tape: its id without the attempt, which says only how often a run was resumed. */
export function tapeName(rollout_id: string): string {
  return rollout_id.replace(/(-r\d+)\.a\d+$/, "$1");
}

/** Digest of what the world of a rollout depends on: its scenario, how that is set up and what is asked of it after. */
export function scenarioDigest({ id, setup, checks, tools }: Scenario): string {
  const observed = checks.flatMap((check) => "call" in check ? [check.call] : []);
  return digest({ id, setup: setup ?? null, observed, tools: tools ?? null } as unknown as Json);
}

/** The last message of a conversation, cut, for people. */
export function lastWords(messages: Json | undefined): string {
  const said = Array.isArray(messages) ? messages.at(-1) as JsonObject | undefined : undefined;
  if (!said) return "";
  const text = JSON.stringify(said.content ?? null);
  return `${said.role} ${text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text}`;
}

/** Statuses after which a client asks again. */
export function retryable(status: number): boolean {
  return status === 408 || status === 409 || status === 429 || status >= 500;
}
