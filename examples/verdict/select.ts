/**
 * Writes `scenarios.jsonl`: of the scenarios of ../files eighteen of each family for training, six held out.
 * Run: deno run -A examples/verdict/select.ts
 * @module
 */
import { writeFile } from "node:fs/promises";
import { generate } from "../files/generate.ts";

const CHOSEN = /^(train-\w+-([1-9]|1[0-8])|heldout-\w+-[1-6])$/;

/** The whole file, one scenario a line. */
export function select(): string {
  return generate(7).split("\n").filter((line) => line !== "" && CHOSEN.test(JSON.parse(line).id)).join("\n") + "\n";
}

if (import.meta.main) await writeFile(new URL("./scenarios.jsonl", import.meta.url), select());
