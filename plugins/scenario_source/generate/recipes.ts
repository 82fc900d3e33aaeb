/**
 * Recipes of scenarios, made from the forms that tools accept: single calls, calls that use what others found or made,
 * recovery from an error, requests that need no tool, and ambiguous ones. Deterministic: a round of recipes depends on
 * what was probed, the seed and its number.
 * @module
 */
import { type Scenario, shuffled, stream } from "@hone/hone";
import {
  type ArgumentKind,
  fill,
  type Filled,
  isSlow,
  type Leaf,
  nameOf,
  withValue,
  type World,
} from "./argument_forms.ts";
import type { Fact } from "./facts.ts";
import type { Performed, Step } from "./performance.ts";
import { argumentName, canBeVague, question, quoted, request, type Shown } from "./phrases.ts";
import type { KnownForm, Probed } from "./probe.ts";
import { makeScene } from "./scene.ts";
import { Words } from "./words.ts";

/** Kinds of scenarios. */
export const FAMILIES = ["single_tool", "multi_tool", "error_recovery", "no_tool", "ambiguous"] as const;

/** One of them. */
export type Family = typeof FAMILIES[number];

/** A recipe: what is to be called, and how the task is put once the results are known. */
export interface Recipe {
  family: Family;
  setup?: Scenario["setup"];
  steps: Step[];
  /** Chooses among phrases. */
  variant: number;
  /** The step whose result the task asks for. */
  asks?: number;
  /** The task; null if the results do not allow one. `fact` is the one that is asked for. */
  task(performed: Performed, fact: Fact | undefined, variant: number): string | null;
  /** The answer of a solution without calls, and what is expected of it: a matcher, or that it asks back;
   * `forbids` names a tool that must not be called, besides all that change something. */
  answer?: { text: string; expected: object | "asks_back"; forbids?: string };
  /** Of a proposed task: its text, and the closing answer that a result must support. */
  text?: string;
  closing?: string;
}

const MOST_OF_A_FAMILY = 60;
const TEXTS: Fact["form"][] = ["text", "item", "field"];
const NUMBERS: Fact["form"][] = ["number", "field", "count"];

/** One round of recipes, those of each family in a seeded order. */
export function recipesOf(probed: Probed, families: readonly Family[], seed: number, round: number): Recipe[] {
  const cook = new Cook(probed, new Words(stream(seed, `recipes ${round}`)));
  const variants = stream(seed, `variants ${round}`);
  return families.flatMap((family) =>
    shuffled(cook.recipes(family), stream(seed, `${family} ${round}`)).slice(0, MOST_OF_A_FAMILY)
  ).map((recipe) => ({ ...recipe, variant: Math.floor(variants() * 1000) }));
}

type Plain = Omit<Recipe, "variant">;

/** A filled form, and the scene that it was filled in from. */
interface Placed {
  filled: Filled;
  /** What the call needs of the scene's setup, and all of it. */
  setup: Scenario["setup"];
  all: Scenario["setup"];
  world: World;
}

class Cook {
  readonly #reads: KnownForm[];
  readonly #writes: KnownForm[];

  constructor(private readonly probed: Probed, private readonly words: Words) {
    // A result of a tool that changes something says only that it did.
    this.#reads = probed.forms.filter(({ tool, facts, changes }) =>
      facts.length > 0 && !changes && tool.annotations.read_only !== false
    );
    this.#writes = probed.forms.filter(({ changes }) => changes);
  }

  recipes(family: Family): Plain[] {
    switch (family) {
      case "single_tool":
        return this.probed.forms.flatMap((form) => this.#single(form));
      case "multi_tool":
        return [...this.#readAfterWrite(), ...this.#useOfResult(), ...this.#inNewFolder(), ...this.#twoWrites()];
      case "error_recovery":
        return [...this.probed.forms.flatMap((form) => this.#recovery(form)), ...this.#misspelt()];
      case "no_tool":
        return this.#withoutTool();
      case "ambiguous":
        return [...this.#writes, ...this.#reads].flatMap((form) => this.#ambiguous(form));
    }
  }

  #place(form: KnownForm): Placed | null {
    this.words.restart();
    const { setup, world } = makeScene(this.probed, this.words);
    const filled = fill(form, world, this.words);
    return filled && { filled, world, all: setup, setup: needed(setup, filled) };
  }

  #single(form: KnownForm): Plain[] {
    const placed = this.#place(form);
    if (!placed) return [];
    const { filled, setup } = placed;
    const asks = this.#reads.includes(form) ? 0 : undefined;
    const task: Recipe["task"] = (_, fact, variant) =>
      fact ? question(filled, fact, variant) : request(filled, variant);
    return [{ family: "single_tool", setup, steps: [{ filled }], asks, task }];
  }

  /** Something is made or changed, and then looked at. */
  #readAfterWrite(): Plain[] {
    return this.#writes.flatMap((write) =>
      this.#reads.flatMap((read): Plain[] => {
        const made = write.leaves.find(({ kind }) => kind === "new_path" || kind === "new_name");
        const looked = read.leaves.find(({ kind }) => kind === (made?.kind === "new_path" ? "file" : "entity"));
        const placed = made && looked && this.#place(write);
        if (!placed) return [];
        const value = placed.filled.values.find(({ leaf }) => leaf === made)!.value;
        const filled = fill(read, placed.world, this.words);
        if (!filled) return [];
        const then = withValue(filled, looked, value);
        const task: Recipe["task"] = (_, fact, variant) =>
          fact ? `${request(placed.filled, variant)} ${question(then, fact, variant)}` : null;
        return [{
          family: "multi_tool",
          setup: placed.setup,
          steps: [placed, { filled: then }].map(stepOf),
          asks: 1,
          task,
        }];
      })
    );
  }

  /** The result of a call is an argument of the next. */
  #useOfResult(): Plain[] {
    const users = this.probed.forms.filter((form) => !isSlow(form)).flatMap((form) => {
      const leaf = form.leaves.find((leaf) => leaf.kind === "text" || isQuantity(leaf));
      return leaf ? [{ form, leaf }] : [];
    });
    return this.#reads.filter((form) => !isSlow(form)).flatMap((read) =>
      users.flatMap(({ form, leaf }): Plain[] => {
        const forms = leaf.kind === "number" ? NUMBERS : TEXTS;
        if (form.tool === read.tool || !read.facts.some((one) => forms.includes(one))) return [];
        const placed = this.#place(read);
        const user = placed && fill(form, placed.world, this.words);
        if (!placed || !user) return [];
        const shown: Shown = new Map([[leaf, leaf.kind === "number" ? "that number" : "that text"]]);
        const is_read = this.#reads.includes(form);
        const task: Recipe["task"] = ({ facts, made }, fact, variant) => {
          const taken = facts[0]!.find(({ form }) => forms.includes(form))!;
          if ((leaf.kind === "number") !== (typeof taken.value === "number")) return null;
          const asked = question(placed.filled, taken, variant);
          const again = { ...user, values: made[1]!.values };
          return `${asked} ${is_read && fact ? question(again, fact, variant, shown) : request(again, variant, shown)}`;
        };
        const steps: Step[] = [{ filled: placed.filled }, { filled: user, takes: { leaf, forms } }];
        const setup = needed(placed.all, placed.filled, user);
        return [{ family: "multi_tool", setup, steps, ...(is_read && { asks: 1 }), task }];
      })
    );
  }

  /** Something is put into a folder that the agent has just made. */
  #inNewFolder(): Plain[] {
    const makers = this.#writes.filter(({ tool, leaves }) =>
      /dir|folder/i.test(tool.name) && leaves.length === 1 && leaves[0]!.kind === "new_path"
    );
    const users = this.#writes.filter((form) => !makers.includes(form) && form.leaves.some(isNewPath));
    return makers.flatMap((maker) =>
      users.flatMap((user): Plain[] => {
        const placed = this.#place(user);
        const leaf = user.leaves.find(isNewPath)!;
        const folder = this.words.word();
        const make = placed && fill(maker, placed.world, this.words);
        if (!placed || !make) return [];
        const first = withValue(make, maker.leaves[0]!, folder);
        const name = placed.filled.values.find((one) => one.leaf === leaf)!.value;
        const then = withValue(placed.filled, leaf, `${folder}/${name}`);
        const task: Recipe["task"] = (_, _fact, variant) => `${request(first, variant)} ${request(then, variant)}`;
        return [{ family: "multi_tool", setup: placed.setup, steps: [{ filled: first }, { filled: then }], task }];
      })
    );
  }

  #twoWrites(): Plain[] {
    return this.#writes.flatMap((one) =>
      this.#writes.flatMap((other): Plain[] => {
        const placed = one.tool === other.tool ? null : this.#place(one);
        const taken = placed && placed.filled.values.map(({ value }) => String(value));
        const left = placed && without(placed.world, taken!);
        const then = left && fill(other, left, this.words);
        if (!placed || !then) return [];
        const setup = needed(placed.all, placed.filled, then);
        const task: Recipe["task"] = (_, _fact, variant) =>
          `${request(placed.filled, variant)} ${request(then, variant)}`;
        return [{ family: "multi_tool", setup, steps: [{ filled: placed.filled }, { filled: then }], task }];
      })
    );
  }

  /** The first call must fail: what it names is not there, is taken, or is not allowed. */
  #recovery(form: KnownForm): Plain[] {
    return form.leaves.flatMap((leaf): Plain[] => {
      const placed = this.#place(form);
      const wrong = placed && this.#wrong(leaf, placed.world);
      if (!placed || wrong === undefined || wrong === null) return [];
      const { filled, setup } = placed;
      const bad = withValue(filled, leaf, wrong);
      const good = filled.values.find((one) => one.leaf === leaf)!.value;
      const asks = this.#reads.includes(form) ? 1 : undefined;
      const task: Recipe["task"] = (_, fact, variant) => {
        const first = fact ? question(bad, fact, variant) : request(bad, variant);
        return `${first} If that does not work, use ${quoted(good)} instead of ${quoted(wrong)}.`;
      };
      return [{ family: "error_recovery", setup, steps: [{ filled: bad, fails: true }, { filled }], asks, task }];
    });
  }

  /** A value with which the call fails; undefined if there is none. */
  #wrong({ kind, schema, path }: Leaf, world: World) {
    if (kind === "file" || kind === "old_text") return kind === "file" ? `${this.words.word()}.txt` : this.words.word();
    if (kind === "new_path") return Object.keys(world.files)[0];
    if (kind === "entity") return this.words.word();
    if (kind === "enum" && (schema.enum as unknown[]).every((one) => typeof one === "string")) {
      return /location|city|place/.test(nameOf({ path })) ? "Paris" : this.words.word();
    }
    if (kind === "number" && typeof schema.maximum === "number") return schema.maximum + this.words.number(1, 50);
    return undefined;
  }

  /** A name with a mistake, which a listing corrects. */
  #misspelt(): Plain[] {
    const lists = this.#reads.filter(({ tool, leaves }) =>
      leaves.length === 1 && leaves[0]!.kind === "folder" && /list/i.test(tool.name)
    );
    const reads = this.#reads.filter(({ leaves, facts }) =>
      leaves.length === 1 && leaves[0]!.kind === "file" && facts[0]
    );
    return lists.slice(0, 2).flatMap((list) =>
      reads.flatMap((read): Plain[] => {
        const placed = this.#place(read);
        const [folder] = placed?.world.folders ?? [];
        const file = placed && Object.keys(placed.world.files).find((path) => path.startsWith(`${folder}/`));
        if (!placed || !file || !folder) return [];
        const filled = withValue(placed.filled, read.leaves[0]!, file);
        const wrong = withValue(filled, read.leaves[0]!, misspelt(file));
        const listing = withValue(fill(list, placed.world, this.words)!, list.leaves[0]!, folder);
        const steps: Step[] = [{ filled: wrong, fails: true }, { filled: listing }, { filled }];
        const task: Recipe["task"] = (_, fact, variant) =>
          fact ? `${question(wrong, fact, variant)} I may have misspelt its name.` : null;
        return [{ family: "error_recovery", setup: placed.setup, steps, asks: 2, task }];
      })
    );
  }

  #withoutTool(): Plain[] {
    this.words.restart();
    const [a, b, c] = [this.words.word(), this.words.word(), this.words.word()];
    const first = [a, b, c].sort()[0]!;
    const asked: [string, string | number][] = [
      [`How many letters does the word "${a}" have?`, a.length],
      [`Which of these words comes first in the alphabet: ${a}, ${b} or ${c}?`, first],
      [`Spell the word "${b}" backwards.`, [...b].reverse().join("")],
      [`What is the last letter of the word "${c}"? Answer with the letter alone.`, c.at(-1)!],
    ];
    return asked.map(([task, answer]): Plain => {
      const expected = typeof answer === "number" || answer.length === 1 ? { equals: answer } : { contains: answer };
      return { family: "no_tool", steps: [], task: () => task, answer: { text: String(answer), expected } };
    });
  }

  /** A value that the request leaves open: the agent has to ask for it. */
  #ambiguous(form: KnownForm): Plain[] {
    const placed = form.leaves.length > 0 ? this.#place(form) : null;
    if (!placed) return [];
    const { filled, setup } = placed;
    const open = form.leaves.filter((leaf) =>
      leaf.kind !== "enum" && leaf.kind !== "number" && canBeVague(filled, leaf)
    );
    if (open.length === 0) return [];
    const leaf = this.words.pick(open);
    const name = argumentName(leaf);
    const shown: Shown = new Map([[leaf, vague(leaf.kind)]]);
    const text = `Which ${name} do you mean? Please tell me, and I will do it.`;
    const task: Recipe["task"] = (_, _fact, variant) => request(filled, variant, shown);
    return [{
      family: "ambiguous",
      setup,
      steps: [],
      task,
      answer: { text, expected: "asks_back", forbids: form.tool.name },
    }];
  }
}

function stepOf({ filled }: { filled: Filled }): Step {
  return { filled };
}

/** A number that means something by itself, not how much of a result is wanted. */
function isQuantity(leaf: Leaf): boolean {
  return leaf.kind === "number" &&
    !/head|tail|limit|count|page|offset|size|depth|steps?|duration|\bid$/.test(nameOf(leaf));
}

function isNewPath({ kind }: Leaf): boolean {
  return kind === "new_path";
}

/** The parts of a setup that the calls use: its calls where something that they made is named, or all is asked for. */
function needed(setup: Scenario["setup"], ...calls: Filled[]): Scenario["setup"] {
  const uses = calls.some(({ values }) => values.length === 0 || values.some(({ leaf }) => leaf.kind === "entity"));
  if (!setup?.calls || uses) return setup;
  const { calls: _, ...rest } = setup;
  return Object.keys(rest).length > 0 ? rest : undefined;
}

/** What is left of a world once some of it is used. */
function without({ files, folders, entities }: World, taken: string[]): World {
  return {
    files: Object.fromEntries(Object.entries(files).filter(([path]) => !taken.includes(path))),
    folders: folders.filter((folder) => !taken.some((one) => one === folder || one.startsWith(`${folder}/`))),
    entities: entities.filter((entity) => !taken.includes(entity)),
  };
}

/** The name with two letters changed places, which is never the name itself. */
function misspelt(path: string): string {
  const at = path.lastIndexOf("/") + 1;
  const name = [...path.slice(at)];
  const i = name.findIndex((letter, i) => i > 0 && letter !== name[i + 1] && /[a-z]/.test(name[i + 1] ?? ""));
  if (i > 0) [name[i], name[i + 1]] = [name[i + 1]!, name[i]!];
  return path.slice(0, at) + name.join("");
}

function vague(kind: ArgumentKind): string {
  if (kind === "file") return "the other file";
  if (kind === "new_path") return "the usual place";
  if (kind === "folder") return "the other folder";
  return kind === "text" || kind === "old_text" ? "the text that I gave you yesterday" : "the one from yesterday";
}
