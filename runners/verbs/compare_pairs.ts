/** `hone compare <run> <policy> <against>`: has a relative judge compare two policies on the scenarios that both attempted. @module */
import { join, relative } from "node:path";
import { z } from "zod";
import { loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { counted } from "../../pipeline/diagnostics/mod.ts";
import type { Compared } from "../../pipeline/run/compare_policies.ts";
import { builtins } from "../../plugins/mod.ts";
import { approval } from "./consent.ts";
import { namedRun } from "./named_run.ts";
import { overridesOf, performing } from "./new_run.ts";
import { interval_fields } from "./results.ts";
import { oneLine } from "./table.ts";
import { defineVerb, indented } from "./verb.ts";

export default defineVerb({
  name: "compare",
  summary: "Have a judge compare two policies of a run.",
  description:
    "Has a relative judge (judge/pairwise, judge/ruler) compare the recorded rollouts of two policies in pairs: the same " +
    "scenario, temperature and try. Nothing is rolled out and the run is only read; replies of language models that are " +
    "cached cost nothing, and the pipeline's `limits` for them apply. Pairs that the judge cannot compare are counted, not ties.",
  effect: "runs",
  positional: [
    { name: "run", description: "A run's folder, its id or a prefix of it, or `latest`." },
    { name: "policy", description: "A policy that the run evaluated, such as tuned." },
    { name: "against", description: "The policy that it is compared with, such as base." },
  ],
  args: z.strictObject({
    judge: z.string().optional().describe("Stage id of the judge. Default: the only one that compares rollouts."),
    split: z.enum(["heldout", "validation", "train"]).default("heldout").describe("Split of the scenarios."),
    pairs: z.coerce.number().int().min(1).default(100).describe(
      "Maximum number of pairs; judge/pairwise makes two requests for each.",
    ),
    pipeline: z.string().optional().describe("Pipeline whose judge is used. Default: the run's own."),
    set: z.array(z.string()).default([]).describe(
      "Override a value of the pipeline, for example stages.pairwise.with.endpoint.model=other; repeatable.",
    ),
    ...performing,
  }),
  result: z.object({
    policy: z.string(),
    against: z.string(),
    judge: z.string().describe("Stage id of the judge."),
    scenarios: z.int(),
    wins: z.int().describe("Pairs in which `policy` is preferred."),
    ties: z.int(),
    losses: z.int(),
    share: z.object(interval_fields).describe("Wins and half of the ties, as a share of the compared pairs."),
    invalid: z.int().describe("Pairs that the judge could not compare."),
    cause: z.string().nullable().describe("Why the first of these."),
    flipped: z.int().nullable().describe("Ties because the order changed the judge's mind; null if it does not say."),
    requests: z.int().describe("Requests that were sent to language models."),
    cached: z.int().describe("Requests that were answered from the cache."),
    usd: z.number().nullable().describe("What the requests cost; null if a price is not set."),
  }),
  examples: [
    "hone compare latest tuned base",
    "hone compare latest tuned warm_start --pipeline pairs.yaml --pairs 40 --format json",
  ],
  async run(call): Promise<Compared> {
    const { args, positional: [word, policy, against], signal, caller } = call;
    const run_dir = await namedRun(word!, caller);
    const path = args.pipeline === undefined ? join(run_dir, "pipeline.yaml") : await caller.within(args.pipeline);
    const approve = approval(call, relative(Deno.cwd(), path), { of: "judging" });
    const overrides = overridesOf(args.set);
    const loaded = await loadPipeline(path, { builtins, signal, overrides, trains: false, approve });
    const { comparePolicies } = await import("../../pipeline/run/compare_policies.ts");
    const line = (level: "debug" | "info" | "warn") => (message: string) => {
      if (level !== "debug" || args.verbose) caller.log(level, message);
    };
    const { judge, split, pairs } = args;
    return await comparePolicies(loaded, {
      ...{ run_dir, policy: policy!, against: against!, split, pairs, signal },
      ...(judge !== undefined && { judge }),
      log: { debug: line("debug"), info: line("info"), warn: line("warn") },
      on_progress: (read) => caller.progress(read),
    });
  },
  formats: { json: indented },
  text: (value) => sentences(value).join("\n"),
});

const WIDEST_CAUSE = 300;

function sentences(compared: Compared): string[] {
  const { policy, against, judge, wins, ties, losses, share, scenarios, invalid, cause, flipped } = compared;
  const sure = share.low > 0.5 || share.high < 0.5;
  const interval = `${share.mean.toFixed(2)} (95 % interval ${share.low.toFixed(2)} to ${share.high.toFixed(2)})`;
  return [
    `${judge} prefers ${policy} to ${against} in ${wins} of ${
      counted(share.n, "pair")
    }, ${against} in ${losses}, and ` +
    `neither in ${ties} (${counted(scenarios, "scenario")}): ${interval}` +
    (sure ? "" : "; no measurable preference (none would be 0.50)"),
    ...(flipped
      ? [`${counted(flipped, "preference")} changed with the order and count as ties: audit this judge.`]
      : []),
    ...(invalid ? [`${counted(invalid, "pair")} could not be compared: ${oneLine(cause ?? "", WIDEST_CAUSE)}`] : []),
    requestLine(compared),
  ];
}

function requestLine({ requests, cached, usd }: Compared): string {
  const price = requests > 0 && usd !== null ? `, ${usd.toFixed(4)} USD` : "";
  return `${counted(requests, "request")} sent, ${cached} answered from the cache${price}`;
}
