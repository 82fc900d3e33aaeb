/** The scripted pipeline with two validation scenarios, and what validation chose in a run of it. @module */
import { appendFile, cp } from "node:fs/promises";
import { dirname, join } from "node:path";
import { rows, SCRIPTED } from "./hone_process.ts";

/**
 * Settings that validate after every step, and only to choose a checkpoint; the second step's policy is the first that solves
 * both scenarios.
 */
export const VALIDATED = { "train.validate_every": 1, "evaluate.validation_scenarios": 0 };

/** Copies the scripted pipeline into a folder, adds validation scenarios, and gives the pipeline's path. */
export async function withValidation(dir: string): Promise<string> {
  await cp(dirname(SCRIPTED), dir, { recursive: true });
  const scenario = (id: string) =>
    `- id: ${id}
  split: validation
  tags: [write]
  task: Create the file "${id}.txt" with the text "moss".
  checks: [{ file: ${id}.txt, equals: moss }]
`;
  await appendFile(join(dir, "scenarios.yaml"), ["fern", "reed"].map(scenario).join(""));
  return join(dir, "pipeline.yaml");
}

/** Checkpoints: of the tuned policy, of the first policy with the best validation, of the last step. */
export async function chosenCheckpoint(run_dir: string) {
  const one = async (sql: string) => Object.values((await rows(run_dir, sql))[0]!)[0];
  return {
    tuned: await one("SELECT checkpoint FROM policies WHERE policy = 'tuned' ORDER BY seq DESC"),
    best: await one(
      `SELECT checkpoint FROM evaluations JOIN policies USING (policy) WHERE split = 'validation'
       ORDER BY mean DESC, policy LIMIT 1`,
    ),
    last: await one("SELECT checkpoint FROM train_steps ORDER BY seq DESC LIMIT 1"),
  };
}
