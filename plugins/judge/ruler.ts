/**
 * Has a language model score all rollouts of a group in one request, relative to each other: what they have in common
 * is sent once, the attempts follow in a shuffled order.
 * Source: RULER of OpenPipe's ART, https://art.openpipe.ai/fundamentals/ruler
 * @module
 */
import { definePlugin, type Plugin } from "@hone/hone";
import type { Judgement } from "@hone/hone";
import { z } from "zod";
import { askedModel, filled, model_settings, promptSetting } from "./asked_model.ts";
import { taskText, view_settings } from "./attempt_text.ts";
import { compared, comparison_settings } from "./compared_attempts.ts";

const PROMPT = `{{task}}

Compare the following attempts at this task, and give each a score from 0 to 1:
{{criteria}}

{{attempts}}

For each attempt, first give your reason in one or two sentences, compared with the others, then its score. The order of the attempts is random and says nothing about them.`;

const config = z.strictObject({
  ...model_settings,
  criteria: z.array(z.string().min(1)).min(1).default([
    "An attempt that reaches the goal of the task scores much higher than one that does not.",
    "Of attempts that reach it, one that needs fewer calls scores a little higher.",
    "An attempt that does not reach it earns a little for real progress, and loses for a closing answer that claims what no result supports.",
    "Attempts that are equally good have equal scores; small differences make small differences in score.",
  ]).describe("What makes an attempt better than another."),
  prompt: promptSetting(PROMPT, {
    task: { needed: false, shows: "the task, what the agent was given and its tools" },
    criteria: { needed: true, shows: "the criteria, as a list" },
    attempts: { needed: true, shows: "the rollouts of the group" },
  }),
  ...view_settings,
  ...comparison_settings,
});

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "ruler",
  summary: "Has a language model score the rollouts of a group relative to each other, in one request.",
  config,
  examples: [{
    title: "A model on this machine",
    with: { endpoint: { base_url: "http://127.0.0.1:8000/v1", model: "qwen3-4b" } },
  }],
  parts: ["position"],
  create: ({ config }) => ({
    scale: "relative",
    decisive: false,
    async judge(args): Promise<Judgement[]> {
      const { group, scenario } = args;
      const attempts = compared(group, scenario, config, { position: 1 });
      if (!("texts" in attempts)) return group.map(() => attempts);
      const { texts, attempt_of } = attempts;
      const prompt = filled(config.prompt, {
        task: taskText(group, scenario, config),
        criteria: config.criteria.map((line) => `- ${line}`).join("\n"),
        attempts: texts.map((text, index) => `Attempt ${index + 1}:\n${text}`).join("\n\n"),
      });
      const said = await askedModel(args, config, prompt, replyTo(texts.length));
      if ("invalid" in said) return group.map(() => said);
      return attempt_of.map((index) => {
        const { reason, score } = said.reply[key(index)]!;
        return {
          score,
          reason: `${reason} (shown as ${index + 1} of ${texts.length})`,
          parts: { position: index + 1 },
        };
      });
    },
  }),
});
export default plugin;

function key(index: number): string {
  return `attempt_${index + 1}`;
}

/** Each attempt exactly once, with a reason, then a score: a missing, repeated or unknown one is refused. */
function replyTo(attempts: number) {
  const judged = z.strictObject({ reason: z.string(), score: z.number().min(0).max(1) });
  return z.strictObject(Object.fromEntries(Array.from({ length: attempts }, (_, index) => [key(index), judged])));
}
