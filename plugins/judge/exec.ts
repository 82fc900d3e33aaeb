/**
 * Has a program judge: it is started once for each group, with one JSON document on its stdin
 * (`{"group": […trajectories], "scenario": {…}, "expected": …}`), and writes one on its stdout: a list with one judgement
 * for each trajectory, in order, as `{"score": 0.5, "reason": "…", "parts": {…}}`, `{"abstain": "…"}` or
 * `{"invalid": "…"}`.
 *
 * For a script that exists already, or a few lines of shell. A judge that keeps something loaded between groups,
 * observes environments, asks language models or has settings of its own is a plugin: `use: exec:judge.py`.
 * @module
 */
import { definePlugin, type Judgement, OneShot, type Plugin } from "@hone/hone";
import { z } from "zod";

const config = z.strictObject({
  command: z.array(z.string().min(1)).min(1).describe(
    "The program and its arguments, started without a shell in the folder of the pipeline file. Asked for approval, with " +
      "the contents of the files that it names.",
  ).meta({ program: true, examples: [["python3", "judge.py"]] }),
  timeout_secs: z.number().positive().default(60).describe("Time limit for one group."),
  at_once: z.int().min(1).default(4).describe("Maximum number of programs that run concurrently."),
  decisive: z.boolean().default(false).describe(
    "Whether this judge determines success, which then requires a score of 1; false: it only scores.",
  ),
  scale: z.enum(["absolute", "relative"]).default("absolute").describe(
    "`relative`: its scores compare the rollouts of one group, and are used only in training.",
  ),
}).refine(({ decisive, scale }) => !(decisive && scale === "relative"), {
  path: ["decisive"],
  message: "must be false for relative scores",
});

const plugin: Plugin<"judge"> = definePlugin({
  kind: "judge",
  name: "exec",
  summary: "Has a program judge: JSON on its stdin, JSON on its stdout, once for each group.",
  config,
  examples: [
    { title: "A script beside the pipeline", with: { command: ["python3", "judge.py"], decisive: true } },
    { title: "A program that compares rollouts", with: { command: ["./rank", "--json"], scale: "relative" } },
  ],
  starts: "its `command`",
  expects: {
    schema: z.json().describe("What the program of judge/exec gets as `expected`: any JSON value.").meta({
      examples: [{ answer: "maple" }],
    }),
  },
  create: ({ config: { command, timeout_secs, at_once, decisive, scale }, base_dir }) => {
    const program = new OneShot(command, { cwd: base_dir, timeout_secs, at_once });
    return {
      scale,
      decisive,
      judge: async ({ group, scenario, expected, signal }) =>
        await program.ask({ group, scenario, expected: expected ?? null }, signal) as unknown as Judgement[],
    };
  },
});
export default plugin;
