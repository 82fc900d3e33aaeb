/**
 * Writes `scenarios.jsonl`: 336 for training, 56 for validation, 96 held out. The same seed gives the same file.
 * Run: deno run -A examples/files/generate.ts
 * @module
 */
import { writeFile } from "node:fs/promises";
import { combinations, type Draw, families, type Family, type Task } from "./families.ts";
import { seen, unseen, type Words } from "./words.ts";

/** Scenarios of one family in each split; held-out has one family more. */
const COUNTS = { train: 48, validation: 8, heldout: 12, combinations: 12 };

/** The whole file, one scenario a line. */
export function generate(seed: number): string {
  const random = { train: generator(seed), validation: generator(seed + 1), heldout: generator(seed + 2) };
  const known = new Set<string>();
  const lines: string[] = [];
  const add = (split: keyof typeof random, name: string, family: Family, count: number, side: "seen" | "unseen") => {
    const words = side === "seen" ? seen : unseen;
    for (let number = 0; number < count;) {
      const task = family(draw(words, random[split]), side, number);
      if (known.has(task.task)) continue;
      known.add(task.task);
      lines.push(JSON.stringify(scenario(`${split}-${name}-${++number}`, split, name, task)));
    }
  };
  for (const split of ["train", "validation"] as const) {
    for (const [name, family] of Object.entries(families)) add(split, name, family, COUNTS[split], "seen");
  }
  for (const [name, family] of Object.entries(families)) add("heldout", name, family, COUNTS.heldout, "unseen");
  for (const [name, family] of Object.entries(combinations)) {
    add("heldout", name, family, COUNTS.combinations, "unseen");
  }
  return lines.join("\n") + "\n";
}

function scenario(id: string, split: string, name: string, { task, setup, checks, calls }: Task) {
  const { files, directories } = setup;
  const before = {
    ...(Object.keys(files).length > 0 ? { files } : {}),
    ...(directories.length > 0 ? { directories } : {}),
  };
  return {
    id,
    task,
    split,
    tags: [name],
    ...(Object.keys(before).length > 0 ? { setup: before } : {}),
    checks,
    calls: { expected: calls },
    solution: { calls, answer: "Done." },
  };
}

function draw(words: Words, random: () => number): Draw {
  const used = new Set<string>();
  const pick = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)]!;
  return {
    words,
    pick,
    word: (kind) => {
      const chosen = pick(words[kind].filter((word) => !used.has(word)));
      used.add(chosen);
      return chosen;
    },
  };
}

/** Mulberry32: numbers in [0, 1) that are the same on every machine. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

if (import.meta.main) await writeFile(new URL("./scenarios.jsonl", import.meta.url), generate(7));
