/**
 * Has a language model compare rollouts of a group in pairs, each pair twice with the order swapped. Every attempt is
 * compared with one or a few pivots, so that the number of requests grows with the group and not with its square. A
 * preference that does not survive the swap is a tie, and counted as flipped.
 * @module
 */
import { definePlugin, type Plugin } from "@hone/hone";
import type { JudgeArgs, Judgement } from "@hone/hone";
import { z } from "zod";
import { askedModel, filled, model_settings, promptSetting } from "./asked_model.ts";
import { taskText, view_settings } from "./attempt_text.ts";
import { compared, comparison_settings } from "./compared_attempts.ts";

const PROMPT = `{{task}}

Two attempts at this task follow. Which is better?
{{criteria}}

The first attempt:
{{first}}

The second attempt:
{{second}}

First compare them in a few sentences, then say which is better: "first", "second", or "tie" if neither is. Their order is random and says nothing about them.`;

const config = z.strictObject({
  ...model_settings,
  criteria: z.array(z.string().min(1)).min(1).default([
    "An attempt that reaches the goal of the task is better than one that does not.",
    "If both or neither reach it, the one whose closing answer is better supported by results is better.",
    "If they are equal in this too, the one that needed fewer calls is better.",
  ]).describe("What makes an attempt better than another."),
  pivots: z.int().min(1).max(8).default(1).describe(
    "Number of attempts with which all others of the group are compared: 2 × pivots × (attempts - 1) requests at most.",
  ),
  prompt: promptSetting(PROMPT, {
    task: { needed: false, shows: "the task, what the agent was given and its tools" },
    criteria: { needed: true, shows: "the criteria, as a list" },
    first: { needed: true, shows: "the attempt shown first" },
    second: { needed: true, shows: "the attempt shown second" },
  }),
  ...view_settings,
  ...comparison_settings,
});

type Settings = z.output<typeof config>;

const reply_schema = z.strictObject({ reason: z.string(), better: z.enum(["first", "second", "tie"]) });

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "pairwise",
  summary: "Has a language model compare rollouts of a group in pairs, each pair in both orders.",
  config,
  examples: [{
    title: "A model on this machine",
    with: { endpoint: { base_url: "http://127.0.0.1:8000/v1", model: "qwen3-4b" } },
  }],
  parts: ["wins", "ties", "losses", "flipped"],
  create: ({ config }) => ({
    scale: "relative",
    decisive: false,
    async judge(args): Promise<Judgement[]> {
      const { group, scenario } = args;
      const attempts = compared(group, scenario, config, { wins: 0, ties: 0, losses: 0, flipped: 0 });
      if (!("texts" in attempts)) return group.map(() => attempts);
      const { texts, attempt_of } = attempts;
      const task = taskText(group, scenario, config);
      const matches = await Promise.all(
        pairs(texts.length, config.pivots).map(async ([one, other]) => {
          const result = await compare(args, config, { task, first: texts[one]!, second: texts[other]! });
          return { one, other, result };
        }),
      );
      return attempt_of.map((index) => summed(index, matches));
    },
  }),
});
export default plugin;

/** Each of the first `pivots` attempts with all attempts after it. */
function pairs(attempts: number, pivots: number): [number, number][] {
  return Array.from({ length: Math.min(pivots, attempts) }, (_, pivot) => pivot).flatMap((pivot) =>
    Array.from({ length: attempts - pivot - 1 }, (_, i): [number, number] => [pivot, pivot + 1 + i])
  );
}

/** Outcome of a pair for its first attempt. */
type Result = { points: 0 | 0.5 | 1; flipped: boolean; reason: string } | { invalid: string };

interface Match {
  one: number;
  other: number;
  result: Result;
}

async function compare(
  args: JudgeArgs,
  settings: Settings,
  { task, first, second }: { task: string; first: string; second: string },
): Promise<Result> {
  const criteria = settings.criteria.map((line) => `- ${line}`).join("\n");
  const ask = (shown: { first: string; second: string }) =>
    askedModel(args, settings, filled(settings.prompt, { task, criteria, ...shown }), reply_schema);
  const [straight, swapped] = await Promise.all([ask({ first, second }), ask({ first: second, second: first })]);
  if ("invalid" in straight) return straight;
  if ("invalid" in swapped) return swapped;
  const { better, reason } = straight.reply;
  const again = { first: "second", second: "first", tie: "tie" }[swapped.reply.better];
  if (better !== again) return { points: 0.5, flipped: true, reason };
  return { points: better === "first" ? 1 : better === "second" ? 0 : 0.5, flipped: false, reason };
}

/** The share of an attempt's comparisons that it won, ties counted half. */
function summed(index: number, matches: readonly Match[]): Judgement {
  const mine = matches.filter(({ one, other }) => one === index || other === index);
  const made = mine.flatMap(({ one, result }) =>
    "invalid" in result ? [] : [{
      ...result,
      points: one === index ? result.points : 1 - result.points,
      shown: one === index ? "first" : "second",
    }]
  );
  if (made.length === 0) return mine[0]!.result as { invalid: string };
  const count = (points: number) => made.filter((one) => one.points === points).length;
  const [wins, ties, losses] = [count(1), count(0.5), count(0)];
  const flipped = made.filter((one) => one.flipped).length;
  const tally = `${wins} won, ${ties} tied, ${losses} lost` + (flipped > 0 ? `, ${flipped} flipped by the order` : "");
  return {
    score: (wins + ties / 2) / made.length,
    reason: `${tally}; shown ${made[0]!.shown}: ${made[0]!.reason}`,
    parts: { wins, ties, losses, flipped },
  };
}
