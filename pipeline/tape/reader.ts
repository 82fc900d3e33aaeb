/**
 * Reads a tape into sequences by rollout. A last line truncated by a crash is ignored; any other unreadable line is an
 * error. A rollout's requests must come in the order of the recording, except that concurrent calls may come in any
 * order.
 * @module
 */
import { boundedLines } from "../common/bounded_lines.ts";
import { openRegular } from "../common/read_text.ts";
import { HoneError, tape as messages } from "../diagnostics/mod.ts";
import type { Catalog } from "../events.ts";
import { canonical } from "../common/json.ts";
import {
  type AskedCall,
  type AskedReply,
  retryable,
  tape_line,
  TAPE_VERSION,
  type TapedCall,
  type TapedLlm,
  type TapedObservation,
  type TapedReply,
  type TapeLine,
} from "./lines.ts";

/** Of one line: a recorded answer of a server or a model. */
const MAX_LINE_BYTES = 256_000_000;

/** What a tape holds of one rollout. */
export interface TapedRollout {
  scenario: string;
  workdir_chars: number | null;
  calls: TapedCall[];
  replies: TapedReply[];
  observations: Map<string, TapedObservation>;
}

/** A tape that was read. */
export interface TapeContent {
  path: string;
  /** By server. */
  catalogs: Map<string, Catalog>;
  rollouts: Map<string, TapedRollout>;
  /** What language models answered to stages, in the order of the recording. */
  llm: TapedLlm[];
}

/** Reads the tape at `path`. Throws a HoneError where it is missing, newer, or no tape. */
export async function readTape(path: string): Promise<TapeContent> {
  const content: TapeContent = { path, catalogs: new Map(), rollouts: new Map(), llm: [] };
  let number = 0;
  let unread: { number: number; cause: string } | undefined;
  const refuse = ({ number, cause }: { number: number; cause: string }) =>
    new HoneError(messages.unreadable(path, number, cause));
  try {
    await using file = await openRegular(path);
    for await (const text of boundedLines(file.createReadStream({ autoClose: false }), MAX_LINE_BYTES)) {
      number++;
      if (unread) throw refuse(unread);
      const line = parse(text);
      if (typeof line === "string") unread = { number, cause: line };
      else if ((number === 1) !== (line.type === "tape")) {
        throw refuse({ number, cause: "expected one header, on the first line" });
      } else add(content, line);
    }
  } catch (error) {
    if (error instanceof HoneError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw new HoneError(code === "ENOENT" ? messages.missing(path) : messages.unreadable(path, number, message));
  }
  if (number === 0) throw refuse({ number: 1, cause: "the file is empty" });
  if (unread?.number === 1) throw refuse(unread);
  for (const rollout of content.rollouts.values()) tidy(rollout);
  return content;
}

function parse(text: string): TapeLine | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "it is not JSON";
  }
  const parsed = tape_line.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  return `${issue!.path.join(".") || "the line"}: ${issue!.message}`;
}

function add(content: TapeContent, line: TapeLine) {
  switch (line.type) {
    case "tape":
      if (line.version > TAPE_VERSION) throw new HoneError(messages.newer(content.path, line.version, TAPE_VERSION));
      return;
    case "catalog":
      content.catalogs.set(line.server, line.catalog);
      return;
    case "rollout":
      content.rollouts.set(line.rollout, {
        scenario: line.scenario,
        workdir_chars: line.workdir_chars,
        calls: [],
        replies: [],
        observations: new Map(),
      });
      return;
    case "llm":
      content.llm.push(line);
      return;
  }
  const rollout = content.rollouts.get(line.rollout);
  if (!rollout) return;
  if (line.type === "call") rollout.calls.push(line);
  else if (line.type === "reply") rollout.replies.push(line);
  else rollout.observations.set(line.judge, line);
}

/** Lines are in the order of the answers; a refusal that was followed by an answer to the same question is left out. */
function tidy(rollout: TapedRollout) {
  const order = (a: { after: number }, b: { after: number }) => a.after - b.after;
  rollout.calls.sort(order);
  rollout.replies = rollout.replies.filter((reply, index) =>
    !retryable(reply.status) || !rollout.replies.slice(index + 1).some((later) => sameReply(later, reply))
  ).sort(order);
}

/** Whether a call is the one asked for. */
export function sameCall(a: AskedCall, b: AskedCall): boolean {
  return a.server === b.server && a.tool === b.tool && canonical(a.arguments) === canonical(b.arguments);
}

/** Whether a reply answers what is asked. */
export function sameReply({ asked: a }: Pick<AskedReply, "asked">, { asked: b }: Pick<AskedReply, "asked">): boolean {
  return a.messages === b.messages && a.tools === b.tools && a.settings === b.settings;
}

/** A rollout's calls, or its replies, while they are taken. */
export class Sequence<E extends { after: number }> {
  readonly #left: E[];
  #taken = 0;

  constructor(entries: readonly E[]) {
    this.#left = [...entries];
  }

  /** The entry that matches, if the recording could have it at this point. `keep` leaves it to be asked for again. */
  take(matches: (entry: E) => boolean, keep: (entry: E) => boolean = () => false): E | undefined {
    const index = this.#left.findIndex((entry) => entry.after <= this.#taken && matches(entry));
    const found = this.#left[index];
    if (!found || keep(found)) return found;
    this.#left.splice(index, 1);
    this.#taken++;
    return found;
  }

  /** What the recording has next, or undefined at its end. */
  get next(): E | undefined {
    return this.#left[0];
  }
}
