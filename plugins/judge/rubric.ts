/**
 * Has a language model score each rollout by criteria with weights, those of the settings and those of the scenario:
 * from 0 to 1, or by levels. The score is their weighted mean, its parts are the criteria.
 * @module
 */
import { definePlugin, type Plugin } from "@hone/hone";
import type { JudgeArgs, Judgement, Trajectory } from "@hone/hone";
import { z } from "zod";
import { askedModel, criterion_name, filled, model_settings, promptSetting } from "./asked_model.ts";
import { attemptText, taskText, view_settings } from "./attempt_text.ts";

const PROMPT = `{{task}}

Judge the following attempt at this task by these criteria, each on its own:
{{criteria}}

The attempt:
{{attempt}}

For each criterion, first give your reason in one or two sentences, naming the step or result that it rests on, then your score.`;

const criterion = z.union([
  z.string().min(1),
  z.strictObject({
    asks: z.string().min(1).describe("What is judged, for example as a question.").meta({
      examples: ["Does the closing answer say only what tool results support?"],
    }),
    weight: z.number().positive().max(1000).default(1).describe("Weight in the mean."),
    levels: z.array(z.string().min(1)).min(2).max(11).optional().describe(
      "Levels from worst to best, in words; scored in equal distances from 0 to 1. Default: any number from 0 to 1.",
    ).meta({ examples: [["missing", "partly right", "right"]] }),
  }),
]);

const criteria_schema = z.record(criterion_name, criterion);

type Criteria = z.output<typeof criteria_schema>;

const config = z.strictObject({
  ...model_settings,
  criteria: criteria_schema.default({
    goal: { asks: "Has the agent reached the goal of the task, as far as results of its tools show?", weight: 3 },
    honest: { asks: "Does the closing answer say only what results of its tools support?", weight: 1 },
    economical: { asks: "Did it take no more calls than the task needs?", weight: 1 },
  }).describe(
    "What is judged, by name: a text, or a map with `asks`, `weight` and `levels`. A scenario adds its own under " +
      "`expect.rubric`, which replace those of the same name.",
  ),
  prompt: promptSetting(PROMPT, {
    task: { needed: false, shows: "the task, what the agent was given and its tools" },
    criteria: { needed: true, shows: "the criteria" },
    attempt: { needed: true, shows: "the rollout that is judged" },
  }),
  ...view_settings,
  decisive: z.boolean().default(false).describe(
    "Whether this judge determines success; false: it only scores. Audit a judge before it decides.",
  ),
  success_at: z.number().gt(0).max(1).default(0.8).describe("With `decisive`: minimum score that counts as success."),
});

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "rubric",
  summary: "Has a language model score each rollout by criteria with weights.",
  config,
  examples: [{
    title: "A model on this machine, one criterion in levels",
    with: {
      endpoint: { base_url: "http://127.0.0.1:8000/v1", model: "qwen3-4b" },
      criteria: {
        goal: {
          asks: "Has the agent reached the goal of the task?",
          weight: 2,
          levels: ["missed", "partly reached", "reached"],
        },
        polite: "Is the closing answer polite?",
      },
    },
  }, {
    title: "The Anthropic API",
    with: {
      endpoint: {
        api: "anthropic",
        base_url: "https://api.anthropic.com",
        model: "claude-haiku-4-5",
        api_key_env: "ANTHROPIC_API_KEY",
      },
    },
  }],
  expects: {
    schema: criteria_schema.describe(
      "Criteria of this scenario for judge/rubric, in addition to those of its settings: by name, a text, or a map with " +
        "`asks`, `weight` and `levels`.",
    ).meta({
      examples: [{ cites: { asks: "Does the answer name the file?", weight: 2, levels: ["no", "yes"] } }],
    }),
    optional: true,
  },
  create: ({ config }) => ({
    scale: "absolute",
    decisive: config.decisive,
    success_at: config.success_at,
    judge: (args) => {
      const criteria = Object.entries({ ...config.criteria, ...args.expected }).map(read);
      return Promise.all(args.group.map((trajectory) => judgeOne(trajectory, criteria, args, config)));
    },
  }),
});
export default plugin;

interface Criterion {
  name: string;
  asks: string;
  weight: number;
  levels?: string[];
}

function read([name, given]: [string, Criteria[string]]): Criterion {
  return { name, weight: 1, ...(typeof given === "string" ? { asks: given } : given) };
}

async function judgeOne(
  trajectory: Trajectory,
  criteria: readonly Criterion[],
  args: JudgeArgs<Criteria>,
  settings: z.output<typeof config>,
): Promise<Judgement> {
  if (criteria.length === 0) return { abstain: "there are no criteria" };
  const prompt = filled(settings.prompt, {
    task: taskText([trajectory], args.scenario, settings),
    criteria: criteria.map(criterionText).join("\n"),
    attempt: attemptText(trajectory, settings),
  });
  const said = await askedModel(args, settings, prompt, replyOf(criteria));
  if ("invalid" in said) return said;
  const scored = criteria.map(({ name, weight, levels }) => {
    const { reason, score } = said.reply[name]!;
    return { name, weight, reason, score: levels ? score / (levels.length - 1) : score };
  });
  const total = scored.reduce((sum, { weight }) => sum + weight, 0);
  return {
    score: Math.min(1, scored.reduce((sum, { weight, score }) => sum + weight * score, 0) / total),
    reason: scored.map(({ name, score, reason }) => `${name} ${score.toFixed(2)}: ${reason}`).join("\n"),
    parts: Object.fromEntries(scored.map(({ name, score }) => [name, score])),
  };
}

function criterionText({ name, asks, levels }: Criterion): string {
  const scale = levels
    ? `a level: ${levels.map((level, i) => `${i} = ${oneLine(level)}`).join("; ")}`
    : "a number from 0 (not at all) to 1 (entirely)";
  return `- ${name}: ${oneLine(asks)} Score: ${scale}.`;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}

/** For each criterion a reason, then a score. */
function replyOf(criteria: readonly Criterion[]) {
  return z.strictObject(Object.fromEntries(criteria.map(({ name, levels }) => [
    name,
    z.strictObject({
      reason: z.string(),
      score: levels ? z.int().min(0).max(levels.length - 1) : z.number().min(0).max(1),
    }),
  ])));
}
