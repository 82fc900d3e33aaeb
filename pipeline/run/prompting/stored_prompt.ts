/**
 * The prompt that the `prompt` rung found, in the run's folder: `prompt.json`, from which `hone evaluate` reads it, and
 * `prompt.md` for people.
 * @module
 */
import { join } from "node:path";
import { z } from "zod";
import { readText } from "../../common/read_text.ts";
import { writeAside } from "../../common/write_aside.ts";
import type { ChatMessage } from "../../events.ts";

/** Names of its files. */
const FILES = { json: "prompt.json", markdown: "prompt.md" };

const message = z.looseObject({ role: z.enum(["system", "user", "assistant", "tool"]), content: z.string() });

const found_prompt = z.looseObject({
  schema: z.literal("prompt.v1"),
  system_prompt: z.string(),
  examples: z.array(message),
});

/** A prompt: the system prompt, and the messages between it and the task. */
export interface FoundPrompt {
  system_prompt: string;
  examples: ChatMessage[];
}

/** Where instructions and examples come from: in words, and the ids of scenarios. */
export interface MadeOf {
  instructions: string;
  examples: string[];
}

/** What a search says of its prompt besides. */
export interface PromptFacts {
  made_of: MadeOf;
  /** Success of the pipeline's own prompt and of this one, and where it was measured. */
  chosen_on: { split: string; scenarios: number; plain: number; found: number };
  rollouts: number;
}

/** Writes both files. */
export async function writePrompt(run_dir: string, prompt: FoundPrompt, facts: PromptFacts): Promise<void> {
  await writeAside(join(run_dir, FILES.json), JSON.stringify({ schema: "prompt.v1", ...prompt, ...facts }, null, 2));
  await writeAside(join(run_dir, FILES.markdown), inMarkdown(prompt, facts));
}

/** The prompt in a run's folder; undefined if there is none, or it is not one that hone wrote. */
export async function storedPrompt(run_dir: string): Promise<FoundPrompt | undefined> {
  const text = await readText(join(run_dir, FILES.json)).catch(() => undefined);
  if (text === undefined) return undefined;
  const { success, data } = found_prompt.safeParse(parsed(text));
  return success ? { system_prompt: data.system_prompt, examples: data.examples as ChatMessage[] } : undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function inMarkdown({ system_prompt, examples }: FoundPrompt, { made_of, chosen_on, rollouts }: PromptFacts): string {
  const { split, scenarios, plain, found } = chosen_on;
  return [
    "# Prompt",
    `Found with ${rollouts} rollouts. On ${scenarios} ${split} scenarios its success is ${found.toFixed(2)}, ` +
    `that of the pipeline's own prompt ${plain.toFixed(2)}. Instructions: ${made_of.instructions}. ` +
    `Examples: ${made_of.examples.join(", ") || "none"}.`,
    "## System prompt",
    fenced(system_prompt),
    ...(examples.length > 0 ? ["## Examples"] : []),
    ...examples.flatMap(({ role, content, tool_calls = [] }) => [
      `**${role}**`,
      fenced(
        [content, ...tool_calls.map(({ function: { name, arguments: given } }) => `${name} ${given}`)].join("\n")
          .trim(),
      ),
    ]),
  ].join("\n\n") + "\n";
}

/** Text that may itself contain fences. */
function fenced(text: string): string {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}\n${text}\n${fence}`;
}
