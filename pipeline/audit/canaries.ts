/**
 * Canaries: trajectories of a run, changed so that it is known what a judge should say of them. Deterministic.
 * @module
 */
import type { Trajectory } from "../events.ts";

/** The kinds of canaries. The first two did nothing; the others say the same as the original in another form. */
export const CANARIES = ["empty", "confident_wrong", "decorated", "padded"] as const;
/** One of them. */
export type Canary = typeof CANARIES[number];

/** Nothing was called and nothing said. */
export function empty(original: Trajectory): Trajectory {
  return idle(original, "");
}

/** Nothing was called; the answer, that of another task, claims success. */
export function confidentWrong(original: Trajectory, other_answer: string | undefined): Trajectory {
  const claim = "The task has certainly been completed successfully, and I have verified the result: it is correct.";
  return idle(original, other_answer ? `${other_answer}\n\n${claim}` : claim);
}

/** The original with headings, bold text, bullets and emoji around the same answer; null if it has no answer. */
export function decorated(original: Trajectory): Trajectory | null {
  return reworded(original, (answer) => {
    const lines = answer.split("\n").filter((line) => line.trim() !== "");
    return ["# 📋 Answer", "", ...lines.map((line) => `- **${line.trim()}** ✨`), "", "---"].join("\n");
  });
}

const AGAIN = "To say the same at greater length, without anything new, here is what was said above once more:";
/** Characters of a padded answer, at least. */
const PADDED_CHARS = 600;

/** The original with its answer repeated until it is long; null if it has no answer. */
export function padded(original: Trajectory): Trajectory | null {
  return reworded(original, (answer) => {
    let text = `${answer}\n\n${AGAIN} ${answer}`;
    while (text.length < PADDED_CHARS) text += `\n\n${AGAIN} ${answer}`;
    return text;
  });
}

/** The conversation begins as the original; then only the answer follows. */
function idle(original: Trajectory, answer: string): Trajectory {
  const [first] = original.turns;
  const turn = first && { ...withoutTokens(first), text: answer, tool_calls: [], finish_reason: "stop" as const };
  return {
    ...original,
    turns: turn ? [turn] : [],
    tool_calls: [],
    outcome: { end: "answered", answer },
    observations: {},
  };
}

function reworded(original: Trajectory, change: (answer: string) => string): Trajectory | null {
  const { answer } = original.outcome;
  if (answer === null || answer.trim() === "") return null;
  const text = change(answer);
  const turns = original.turns.map((turn, index) => {
    if (index < original.turns.length - 1) return turn;
    return { ...withoutTokens(turn), text: turn.text.includes(answer) ? turn.text.replace(answer, () => text) : text };
  });
  return { ...original, turns, outcome: { ...original.outcome, answer: text } };
}

/** Nobody sampled the changed text. */
function withoutTokens(turn: Trajectory["turns"][number]): Trajectory["turns"][number] {
  const { output_token_ids: _, logprobs: __, prompt_token_ids: ___, invalid_call: ____, ...rest } = turn;
  return rest;
}
