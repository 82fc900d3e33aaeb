/**
 * Generates scenarios from the servers' tools: finds out what exists, makes tasks with reference solutions, keeps those
 * that are shown to be solvable on the real server, and splits them by combination of tools. Works offline; a language
 * model may propose further scenarios. Results are cached, so that a second run calls neither server nor model.
 * @module
 */
import { type Catalog, definePlugin, digest, type Log, type Plugin, type Scenario } from "@hone/hone";
import type { JsonObject, ScenarioPart, SourceTools } from "@hone/hone";
import { llm_endpoint, llm_sampling } from "@hone/hone/schemas";
import { z } from "zod";
import { compose, type Draft, type Judged, judgedBy } from "./generate/compose.ts";
import { Coverage, matrixLines, matrixOf, type Outline } from "./generate/coverage_matrix.ts";
import { Journal } from "./generate/journal.ts";
import { signature, similarity } from "./generate/minhash.ts";
import { proposed } from "./generate/model_tasks.ts";
import { perform } from "./generate/performance.ts";
import { probe, type Probed, readForms, storedForms } from "./generate/probe.ts";
import { FAMILIES, type Recipe, recipesOf } from "./generate/recipes.ts";
import { split } from "./generate/combination_split.ts";
import { flawOf } from "./generate/flaws.ts";

const config = z.strictObject({
  count: z.int().min(1).max(100_000).default(60).describe("Maximum number of scenarios."),
  families: z.array(z.enum(FAMILIES)).min(1).default([...FAMILIES]).describe(
    "Kinds of scenarios: `single_tool`; `multi_tool` (a call uses what an earlier one found or made); `error_recovery` " +
      "(the first attempt must fail); `no_tool` (a question that needs none); `ambiguous` (the agent has to ask back).",
  ),
  heldout: z.number().min(0).max(0.9).default(0.25).describe(
    "Share of held-out scenarios: whole combinations of tools, which training never sees.",
  ),
  validation: z.number().min(0).max(0.5).default(0.1).describe(
    "Share of validation scenarios: other tasks with the combinations of tools that training sees.",
  ),
  similarity: z.number().min(0.1).max(1).default(0.8).describe(
    "A task whose words resemble an earlier one's by more than this (estimated Jaccard similarity) is dropped.",
  ),
  probe_calls: z.int().min(1).default(300).describe("Maximum number of calls for finding out what the tools accept."),
  rounds: z.int().min(1).default(8).describe("How often new tasks are made from the templates to reach `count`."),
  model: llm_endpoint.optional().describe(
    "A language model that proposes further tasks, which are validated like the others. Default: none; nothing leaves " +
      "this machine.",
  ).meta({ examples: [{ base_url: "http://127.0.0.1:8000/v1", model: "qwen3-4b" }] }),
  solver: llm_endpoint.optional().describe(
    "A stronger model, which attempts tasks that were proposed without calls. Default: `model`.",
  ).meta({ examples: [{ base_url: "http://127.0.0.1:8000/v1", model: "qwen3-32b" }] }),
  per_family: z.int().min(0).max(100).default(8).describe("With `model`: tasks asked for of each kind."),
  temperature: z.number().min(0).max(2).default(0.7).describe("With `model`: sampling temperature of its proposals."),
  max_tokens: z.int().min(1).default(4096).describe("With `model`: maximum tokens of a reply."),
  timeout_secs: llm_sampling.timeout_secs,
});
type Settings = z.output<typeof config>;

const plugin: Plugin<"scenario-source"> = definePlugin({
  kind: "scenario-source",
  name: "generate",
  summary:
    "Generates scenarios from the servers' tools, validates each on the real server, and splits them by combination of tools.",
  config,
  examples: [
    { title: "Without a language model", with: { count: 40 } },
    {
      title: "With tasks that a model on this machine proposes",
      with: { model: { base_url: "http://127.0.0.1:8000/v1", model: "qwen3-4b" }, per_family: 12 },
    },
    { title: "Only calls of several tools", with: { families: ["multi_tool"], heldout: 0.3 } },
  ],
  create: ({ config, log }) => ({
    async *produce(catalog, parts, tools) {
      if (tools.recorded) yield* tools.recorded;
      else if (catalog.tools.length > 0) yield* await generate(config, { catalog, parts, tools, log });
    },
  }),
});
export default plugin;

/** Changed with whatever changes the generated scenarios. */
const VERSION = 1;
/** Drafts that are validated side by side. */
const AT_ONCE = 8;

interface Given {
  catalog: Catalog;
  parts: ScenarioPart[];
  tools: SourceTools;
  log: Log;
}

async function generate(settings: Settings, given: Given): Promise<Scenario[]> {
  const { catalog, tools, log } = given;
  const { seed } = tools;
  const judged = judgedBy(given.parts);
  const key = digest([VERSION, catalog as unknown as JsonObject, await tools.world(), settings, seed, { ...judged }]);
  const journal = await Journal.open(tools.cache_dir, key);
  const stored = await journal.once(
    "probe",
    async () => storedForms(await probe(catalog, tools, seed, settings.probe_calls)),
  );
  const probed = readForms(stored, catalog);
  const maker = new Maker(settings, given, journal, probed, judged);
  const drafts = await maker.drafts();
  const { scenarios, note } = split(drafts, settings, seed);
  await report(drafts, scenarios, note, {
    ...{ catalog, tools, log, probed },
    dropped: maker.dropped,
    wanted: settings.count,
  });
  return scenarios;
}

/** Makes drafts until there are enough, or no more are to be had. */
class Maker {
  readonly dropped = new Map<string, number>();
  readonly #kept: Draft[] = [];
  readonly #signatures: Uint32Array[] = [];
  readonly #coverage = new Coverage();

  constructor(
    private readonly settings: Settings,
    private readonly given: Given,
    private readonly journal: Journal,
    private readonly probed: Probed,
    private readonly judged: Judged,
  ) {}

  async drafts(): Promise<Draft[]> {
    const { count, families, rounds } = this.settings;
    const { catalog, tools, log } = this.given;
    const asking = { catalog, tools, log, journal: this.journal, probed: this.probed };
    // What was paid for comes first.
    await this.#add(await proposed(this.settings, families, asking));
    for (let round = 0; round < rounds && this.#kept.length < count; round++) {
      await this.#add(recipesOf(this.probed, families, tools.seed, round));
    }
    return this.#kept;
  }

  async #add(left: Recipe[]): Promise<void> {
    while (left.length > 0 && this.#kept.length < this.settings.count) await this.#batch(this.#next(left));
  }

  /** Takes the recipes that are needed most, as though all of them will be kept. */
  #next(left: Recipe[]): Recipe[] {
    const wanted = Math.min(AT_ONCE, this.settings.count - this.#kept.length, left.length);
    const chosen: Recipe[] = [];
    for (let i = 0; i < wanted; i++) {
      const needs = left.map((recipe) => this.#coverage.need(outlineOf(recipe)));
      const [recipe] = left.splice(needs.indexOf(Math.min(...needs)), 1);
      this.#coverage.count(outlineOf(recipe!));
      chosen.push(recipe!);
    }
    return chosen;
  }

  async #batch(recipes: Recipe[]): Promise<void> {
    const { tools } = this.given;
    tools.progress(`${this.#kept.length} of ${this.settings.count} scenarios`);
    const work = recipes.map((recipe) => this.#made(recipe));
    // None may outlive the run's servers.
    await Promise.allSettled(work);
    const results = await Promise.all(work);
    for (const [i, result] of results.entries()) {
      const flaw = "flaw" in result
        ? result.flaw
        : this.#isRepeated(result)
        ? "its task resembles an earlier one's"
        : null;
      if (flaw !== null) {
        this.dropped.set(flaw, (this.dropped.get(flaw) ?? 0) + 1);
        this.#coverage.count(outlineOf(recipes[i]!), -1);
      } else this.#kept.push(result as Draft);
    }
  }

  /** A validated draft, or why there is none. */
  #made(recipe: Recipe): Promise<Draft | { flaw: string }> {
    const { catalog, tools } = this.given;
    const work = async () => {
      const performed = await perform(tools, recipe.setup, recipe.steps, this.probed.observers);
      if (typeof performed === "string") return { flaw: performed };
      const draft = compose(recipe, performed, this.judged, { ...this.probed, tools: catalog.tools });
      if (typeof draft === "string") return { flaw: draft };
      const flaw = await flawOf(draft, tools);
      return (flaw === undefined ? draft : { flaw }) as unknown as JsonObject;
    };
    return this.journal.once(keyOf(recipe), work) as unknown as Promise<Draft | { flaw: string }>;
  }

  #isRepeated({ scenario: { id, task } }: Draft): boolean {
    const own = signature(task);
    if (this.#kept.some(({ scenario }) => scenario.id === id || scenario.task === task)) return true;
    if (this.#signatures.some((other) => similarity(own, other) > this.settings.similarity)) return true;
    this.#signatures.push(own);
    return false;
  }
}

function outlineOf({ family, steps }: Recipe): Outline {
  const calls = steps.map(({ filled: { form } }) => form);
  const cells = calls.flatMap(({ tool, leaves }) => leaves.map(({ kind }) => ({ tool: tool.model_name, kind })));
  return { family, tools: calls.map(({ tool }) => tool.model_name), cells };
}

/** What a recipe's result depends on, besides the journal's own key. */
function keyOf({ family, setup, steps, variant, answer, text, closing }: Recipe): string {
  const calls = steps.map(({ filled: { form, arguments: args }, takes, fails = false }) => [
    form.tool.model_name,
    args,
    takes ? takes.leaf.path : null,
    fails,
  ]);
  return digest(
    [
      family,
      setup ?? null,
      calls,
      variant,
      answer?.text ?? null,
      text ?? null,
      closing ?? null,
    ] as unknown as JsonObject,
  );
}

interface Reported extends Omit<Given, "parts"> {
  probed: Probed;
  dropped: Map<string, number>;
  wanted: number;
}

/** Logs what was made, and writes it to the run's folder. */
async function report(
  drafts: Draft[],
  scenarios: Scenario[],
  note: string,
  { catalog, tools, log, probed, dropped, wanted }: Reported,
): Promise<void> {
  const matrix = matrixOf(drafts, catalog.tools.map(({ model_name }) => model_name));
  const counted = (keys: string[]) =>
    Object.fromEntries([...Map.groupBy(keys, (key) => key)].map(([key, all]) => [key, all.length]));
  const lines = matrixLines(matrix);
  const reasons = [...dropped].sort(([a], [b]) => a < b ? -1 : 1);
  const lost = [...dropped.values()].reduce((sum, one) => sum + one, 0);
  log.info(`${drafts.length} of ${wanted} scenarios generated and validated, ${lost} dropped; ${note}`);
  for (const [reason, count] of reasons) log.info(`dropped: ${count}, ${reason}`);
  for (const { tool, reason } of probed.unused) log.info(`not used: ${tool}, ${reason}`);
  for (const line of lines) log.info(line);
  await tools.save("coverage.txt", `${lines.join("\n")}\n`);
  const summary = {
    scenarios: drafts.length,
    splits: counted(scenarios.map(({ split }) => split)),
    split_note: note,
    families: counted(drafts.map(({ family }) => family)),
    combinations: counted(drafts.map(({ combination }) => combination)),
    coverage: matrix,
    dropped: Object.fromEntries(reasons),
    not_used: probed.unused,
    entities: probed.entities,
    probe_calls: probed.calls,
  };
  await tools.save("coverage.json", `${JSON.stringify(summary, null, 2)}\n`);
  await tools.save("scenarios.jsonl", scenarios.map((scenario) => `${JSON.stringify(scenario)}\n`).join(""));
}
