/**
 * The search of the `prompt` rung, as a sequence of evaluations: first instructions, each on a sample of the training
 * scenarios; then examples, added one at a time to the best instructions as long as success on the sample rises; last,
 * the pipeline's own prompt, the best instructions and the best prompt with examples on validation scenarios, where the
 * choice is made. Equal success: the simpler prompt. Everything depends only on the run's seed and on the results, which
 * are recorded, so a resumed run repeats no rollout.
 * @module
 */
import { stream } from "../../common/random.ts";
import type { EventMap, Scenario } from "../../events.ts";
import { estimateText } from "../../chat/tool_text.ts";
import { evaluation } from "../bindings/bind_measure.ts";
import type { Run } from "../context.ts";
import { inTurns } from "../online/scenario_draw.ts";
import { limitReached } from "../online/limits.ts";
import { setPrompt } from "../policies.ts";
import { type Example, verifiedExamples } from "./examples.ts";
import { fixedInstructions, type Instructions } from "./instructions.ts";
import { type Extent, extentOf } from "./extent.ts";
import { proposal } from "./proposals.ts";
import { type PromptFacts, writePrompt } from "./stored_prompt.ts";

type Proposed = EventMap["prompt.proposed"];
/** What the search asks for: a prompt to be recorded, or an evaluation, which is answered. */
export type Step = { propose: Proposed } | { evaluate: EventMap["evaluation.requested"] };
type Answer = EventMap["evaluation.completed"] | undefined;
type Steps<T> = AsyncGenerator<Step, T, Answer>;

/** A prompt with its success on the sample; -1 if no rollout could be judged. */
interface Candidate extends Proposed {
  success: number;
}

/** Examples that are tried in each round of the selection. */
const EXAMPLES_PER_ROUND = 3;

/** Searches; in the end, `prompt` is a policy of the run, and its files are in the run's folder. */
export async function* searchPrompt(run: Run): Steps<void> {
  yield* new Search(run).search();
}

class Search {
  readonly #extent: Extent;
  readonly #sample: string[];
  readonly #pool: Scenario[];
  readonly #max_tokens: number;
  #count = 0;
  #spent = 0;

  constructor(private readonly run: Run) {
    const { config, scenarios } = run;
    this.#extent = extentOf(run);
    const train = inTurns(scenarios.filter(({ split }) => split === "train"), stream(config.seed, "prompt search"));
    this.#sample = train.slice(0, this.#extent.sample).map(({ id }) => id);
    const rest = train.slice(this.#extent.sample).filter(({ solution }) => solution);
    this.#pool = rest.slice(0, this.#extent.pool);
    const { context_tokens } = run.policies.get("base")!;
    this.#max_tokens = config.prompt.max_tokens ?? (context_tokens > 0 ? Math.floor(context_tokens / 4) : 2000);
  }

  async *search(): Steps<void> {
    const { system_prompt } = this.run.agent;
    const plain = yield* this.#try({
      system_prompt,
      examples: [],
      made_of: { instructions: "the pipeline's own", examples: [] },
    });
    const instructed = yield* this.#instructions(plain);
    const shown = yield* this.#examples(instructed);
    const finals = [...new Set([plain, instructed, shown])];
    const { best, facts } = yield* this.#choose(finals);
    const { policy: _, success: __, ...prompt } = best;
    await writePrompt(this.run.run_dir, prompt, { ...facts, made_of: prompt.made_of });
    yield { propose: { policy: "prompt", ...prompt } };
    setPrompt(this.run, "prompt", prompt);
    this.run.log.info(
      `prompt: ${finals.length === 1 ? "none better than the pipeline's own was found" : `chose ${best.policy}`}; ` +
        `instructions: ${best.made_of.instructions}; examples: ${best.made_of.examples.length}; ` +
        `on ${facts.chosen_on.split} ${facts.chosen_on.found.toFixed(2)}, the pipeline's own ` +
        `${facts.chosen_on.plain.toFixed(2)}; ${this.#spent} rollouts`,
    );
  }

  /** The best of the instructions, or the pipeline's own prompt. */
  async *#instructions(plain: Candidate): Steps<Candidate> {
    const tried: Candidate[] = [plain];
    const source = {
      fixed: fixedInstructions(this.run.catalog.tools),
      proposes: this.run.config.prompt.model !== undefined,
    };
    for (let number = 0; number < this.run.config.prompt.instructions && this.#affords(this.#sample.length); number++) {
      if (bestOf(tried).success === 1) break;
      const next = await this.#next(tried, source);
      if (!next) break;
      const { about, system_prompt } = next;
      if (tried.some((one) => one.system_prompt === system_prompt)) continue;
      if (estimateText(system_prompt) > this.#max_tokens) {
        this.run.log.warn(`prompt: instructions (${about}) left out: longer than ${this.#max_tokens} tokens`);
        continue;
      }
      tried.push(yield* this.#try({ system_prompt, examples: [], made_of: { instructions: about, examples: [] } }));
    }
    return bestOf(tried);
  }

  /** The next instructions to try: recorded ones, those that a model proposes, or fixed ones; null if none are left. */
  async #next(
    tried: Candidate[],
    source: { fixed: Instructions[]; proposes: boolean },
  ): Promise<{ about: string; system_prompt: string } | null> {
    const recorded = this.run.recorded.prompts.get(`prompt-${this.#count}`);
    if (recorded) {
      const about = recorded.made_of.instructions;
      const known = source.fixed.findIndex((one) => one.about === about);
      // Then a proposal had failed.
      if (known >= 0) {
        source.proposes = false;
        source.fixed.splice(known, 1);
      }
      return { about, system_prompt: recorded.system_prompt };
    }
    if (source.proposes) {
      const system_prompt = await proposal(this.run, bestOf(tried), tried);
      if (system_prompt !== null) return { about: `proposed by ${this.run.config.prompt.model!.model}`, system_prompt };
      source.proposes = false;
    }
    const fixed = source.fixed.shift();
    if (!fixed) return null;
    const system_prompt = [tried[0]!.system_prompt, fixed.text].filter((text) => text !== "").join("\n\n");
    return { about: fixed.about, system_prompt };
  }

  /** The prompt with the examples that raise its success, or as it is. */
  async *#examples(prompt: Candidate): Steps<Candidate> {
    const { examples: most } = this.run.config.prompt;
    if (most === 0 || this.#pool.length === 0 || prompt.success === 1 || !this.#affords(this.#pool.length)) {
      return prompt;
    }
    yield* this.#evaluate("reference", "train", this.#pool.map(({ id }) => id));
    const left = await verifiedExamples(this.run, this.#pool);
    this.run.log.info(`prompt: ${left.length} of ${this.#pool.length} reference solutions can be examples`);
    let best = prompt;
    for (let number = 0; number < most && left.length > 0; number++) {
      const round: { candidate: Candidate; example: Example }[] = [];
      for (const example of left.filter((one) => this.#fits(best, one)).slice(0, EXAMPLES_PER_ROUND)) {
        if (!this.#affords(this.#sample.length)) break;
        round.push({ candidate: yield* this.#try(withExample(best, example)), example });
      }
      const top = bestOf([best, ...round.map(({ candidate }) => candidate)]);
      if (top === best) break;
      const { example } = round.find(({ candidate }) => candidate === top)!;
      left.splice(left.indexOf(example), 1);
      best = top;
    }
    return best;
  }

  #fits({ system_prompt, examples }: Candidate, example: Example): boolean {
    const before = estimateText(system_prompt) + estimateText(JSON.stringify(examples));
    return before + example.tokens <= this.#max_tokens;
  }

  /** The best of the finalists on validation scenarios, or on the sample if there are none. */
  async *#choose(finals: Candidate[]): Steps<{ best: Candidate; facts: Omit<PromptFacts, "made_of"> }> {
    // Of one candidate there is nothing to choose.
    const validation = finals.length > 1 ? this.#extent.validation : 0;
    const figures: number[] = [];
    for (const { policy, success } of finals) {
      figures.push(validation === 0 ? success : yield* this.#evaluate(policy, "validation", undefined, validation));
    }
    const found = Math.max(...figures);
    const best = finals[figures.indexOf(found)]!;
    const [split, scenarios] = validation === 0 ? ["train", this.#sample.length] : ["validation", validation];
    const chosen_on = { split: String(split), scenarios: Number(scenarios), plain: figures[0]!, found };
    return { best, facts: { chosen_on, rollouts: this.#spent } };
  }

  /** Tries a prompt on the sample. */
  async *#try(prompt: Omit<Proposed, "policy">): Steps<Candidate> {
    const policy = `prompt-${this.#count++}`;
    // What is recorded stays, also if the settings have changed since: it is what was tried.
    const recorded = this.run.recorded.prompts.get(policy);
    const candidate = recorded ?? { policy, ...prompt };
    setPrompt(this.run, policy, { system_prompt: candidate.system_prompt, examples: candidate.examples });
    if (!recorded) yield { propose: candidate };
    const success = yield* this.#evaluate(policy, "train", this.#sample);
    return { ...candidate, success };
  }

  /** Success; -1 if no rollout could be judged. */
  async *#evaluate(
    policy: string,
    split: "train" | "validation",
    ids: string[] | undefined,
    scenarios = ids!.length,
  ): Steps<number> {
    const [sampling] = this.run.config.evaluate.sampling;
    const request = evaluation(this.run, policy, { split, tries: 1, sampling: sampling!, scenarios });
    this.#spent += scenarios;
    const answer = yield { evaluate: ids ? { ...request, ids } : request };
    const { mean, n } = answer!.success;
    return n === 0 ? -1 : mean;
  }

  /** Whether this many further rollouts leave enough for the choice, and no limit of the run is reached. */
  #affords(rollouts: number): boolean {
    if (limitReached(this.run, 0)) return false;
    return this.#spent + rollouts + this.#extent.reserve <= this.run.config.prompt.rollouts;
  }
}

function withExample({ system_prompt, examples, made_of }: Candidate, example: Example): Omit<Proposed, "policy"> {
  return {
    system_prompt,
    examples: [...examples, ...example.messages],
    made_of: { ...made_of, examples: [...made_of.examples, example.id] },
  };
}

/** The first of those with the highest success. */
function bestOf(candidates: Candidate[]): Candidate {
  return candidates.reduce((best, one) => one.success > best.success ? one : best);
}
