/**
 * Every message that hone shows to a person, one code each, sorted by area; and the error that carries them.
 * A message says what could not be done, quotes the value, and says what is wanted; the hint says what to do next.
 *
 * How to add one: put a function into your area's object, named as the code in lower case, and return
 * `say("CODE", message, hint?)`. Throw it with `throw new HoneError(area.code(…))`. Tests assert the whole message.
 * @module
 */
export { codeFrame, place, render } from "./render.ts";

/** One problem. `line` and `col` are 1-based; `frame` is ready to print. */
export interface Diagnostic {
  code: string;
  message: string;
  hint?: string;
  file?: string;
  line?: number;
  col?: number;
  frame?: string;
}

/** An error that a person can act on: `code` and `hint` of its first diagnostic, and all of them. */
export class HoneError extends Error {
  override name = "HoneError";
  readonly code: string;
  readonly hint?: string;
  readonly diagnostics: Diagnostic[];

  constructor(diagnostics: Diagnostic | Diagnostic[], options?: ErrorOptions) {
    const all = Array.isArray(diagnostics) ? diagnostics : [diagnostics];
    super(all.map((d) => d.message).join("\n"), options);
    this.code = all[0]?.code ?? "UNKNOWN";
    this.hint = all[0]?.hint;
    this.diagnostics = all;
  }
}

/** Builds a diagnostic; leaves the hint out where there is none. */
function say(code: string, message: string, hint?: string): Diagnostic {
  return hint === undefined ? { code, message } : { code, message, hint };
}

/** Quotes a value for a message; long ones are cut. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? text.slice(0, 77) + "…" : text;
}

/** The candidate that a misspelt word most likely meant, or undefined. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let limit = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const far = distance(word.toLowerCase(), candidate.toLowerCase());
    if (far < limit) [best, limit] = [candidate, far];
  }
  return best;
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}

// ── Area: config ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Problems of a pipeline file, found before anything runs. */
export const config = {
  file_not_found: (path: string) => say("FILE_NOT_FOUND", `Cannot read pipeline ${quote(path)}: no such file`),
};

// ── Area: runner ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** What ends a run, or refuses to start it, once the pipeline file is sound. */
export const runner = {
  no_scenarios: (split: string, wanted: string) =>
    say("NO_SCENARIOS", `Cannot ${wanted}: the scenario sources gave no scenario of split ${quote(split)}`,
      `Give at least one scenario with \`split: ${split}\`, or leave that part of the pipeline out.`),
  duplicate_scenario: (id: string) =>
    say("DUPLICATE_SCENARIO", `Cannot use scenario ${quote(id)}: two scenarios have this id`, "Give every scenario an id of its own."),
  unknown_tool_in_scenario: (id: string, tool: string, near: string | undefined, known: string[]) =>
    say("UNKNOWN_TOOL", `Cannot use scenario ${quote(id)}: it names the tool ${quote(tool)}, which no server of this pipeline has`,
      near ? `Did you mean ${quote(near)}?` : `Tools found: ${known.slice(0, 12).join(", ")}${known.length > 12 ? ", …" : ""}.`),
  rollout_cannot_demonstrate: (stage: string) =>
    say("ROLLOUT_CANNOT_DEMONSTRATE", `Cannot warm-start: the rollout plugin of stage ${quote(stage)} has no \`demonstrate\``,
      "Use rollout/chat, or take `warm_start` out of `ladder`."),
  no_demonstration: (count: number, reason: string) =>
    say("NO_DEMONSTRATION", `Cannot warm-start: none of ${count} reference solutions reached its goal on the real server (${reason})`,
      count === 0 ? "Give training scenarios a `solution`, or take `warm_start` out of `ladder`." : "Mend the solutions or the checks: `hone query latest \"select * from judgements\"` shows what the judges saw."),
  no_valid_reward: (step: number, cause: string) =>
    say("NO_VALID_REWARD", `Cannot train on step ${step}: not one rollout has a valid reward (first cause: ${cause})`,
      "`hone query latest \"select end_reason, cause, count(*) from rollouts group by all\"` shows what failed; then `hone resume`."),
  tokens_missing: (rollout: string) =>
    say("TOKENS_MISSING", `Cannot train on rollout ${quote(rollout)}: the endpoint returned no token ids or logprobs`,
      "For vLLM: send `return_token_ids`, start it with `--logprobs-mode processed_logprobs`; or evaluate only (`ladder: [prompt]`)."),
  trainer_lost: (reason: string) =>
    say("TRAINER_LOST", `Cannot go on: the trainer is gone (${reason})`, "Nothing acknowledged is lost: `hone resume` continues from the last step."),
  nothing_to_evaluate: () =>
    say("NOTHING_TO_RUN", "Cannot run: the pipeline has neither a trainer nor `agent.endpoint`", "Name a model and a trainer, or an endpoint to evaluate."),
};

// ── Area: loader ─────────────────────────────────────────────────────────────────────────────────────────────────────

// ── Area: mcp ────────────────────────────────────────────────────────────────────────────────────────────────────────

// ── Area: chat ───────────────────────────────────────────────────────────────────────────────────────────────────────

// ── Area: store ──────────────────────────────────────────────────────────────────────────────────────────────────────

// ── Area: worker ─────────────────────────────────────────────────────────────────────────────────────────────────────

// ── Area: cli ────────────────────────────────────────────────────────────────────────────────────────────────────────

// ── Area: runner ─────────────────────────────────────────────────────────────────────────────────────────────────────

// ── Area: verdict ────────────────────────────────────────────────────────────────────────────────────────────────────
