/**
 * The start of the on-policy loop: requests the groups of a training step with the policy that was just published, and
 * the replays for the warm start. With `train.max_staleness` s, the groups of a step may be requested once the policy
 * of the s-th step before it is published, so that at most `groups_per_step × (1 + s)` are in flight. A due validation
 * evaluates the newest weights, so no further groups are requested before it. The rung ends when all steps are taken,
 * when a limit of the run, or the time reserved for the closing evaluation, is reached, or when nothing is left to learn.
 * @module
 */
import type { Out, Publish } from "../../bus.ts";
import { HoneError, runner as messages } from "../../diagnostics/mod.ts";
import type { EventMap } from "../../events.ts";
import type { Bound } from "../bindings.ts";
import type { Run } from "../context.ts";
import { evaluation, type Sampling, stands, temperatureOf } from "../bindings/bind_measure.ts";
import { chosenCheckpoint, type ValidatedCheckpoint } from "./checkpoint_choice.ts";
import { drawWeights, trainable } from "./difficulty.ts";
import { learned } from "./give_up.ts";
import { limitReached } from "./limits.ts";
import { ScenarioDraw } from "./scenario_draw.ts";
import { demonstrated } from "./warm_start.ts";

/** Version of the policy that RL starts from. */
export function firstVersion({ supervised_steps }: Pick<Run, "supervised_steps">): number {
  return supervised_steps > 0 ? 1 : 0;
}

/** Number of recorded RL steps. */
export function trainedSteps({ recorded, supervised_steps }: Pick<Run, "recorded" | "supervised_steps">): number {
  return Math.max(0, recorded.step - supervised_steps);
}

/** Binds the sampler. */
export function bind(run: Run): Bound[] {
  let rung: RlRung | null = null;
  return [{
    stage: "sampler",
    on: {
      "demonstrations.requested": (_, out) => replays(run, out),
      "rung.started": async ({ data }, out) => {
        if (data.rung !== "rl") return;
        const validations = await standingValidations(run);
        run.draw = new ScenarioDraw(await trainable(run, out), run.config.seed);
        rung = new RlRung(run, validations);
        await rung.start(out);
      },
      "replacements.requested": ({ data }, out) => rung!.replace(data, out),
      "policy.published": ({ data }, out) => rung?.published(data, out),
      "evaluation.completed": ({ data }, out) => data.split === "validation" ? rung?.validated(data, out) : undefined,
    },
  }];
}

/** Recorded evaluations on validation, without those that changed stages would not make: they cannot be compared. */
async function standingValidations(run: Run): Promise<EventMap["evaluation.completed"][]> {
  const found = [];
  for (const one of run.recorded.evaluations.values()) {
    if (one.split === "validation" && stepOf(one.policy) !== null && await stands(run, one)) found.push(one);
  }
  return found.sort((a, b) => stepOf(a.policy)! - stepOf(b.policy)!);
}

/** The RL step that a policy was published after; null for other policies. */
function stepOf(policy: string): number | null {
  const step = /^step-(\d+)$/.exec(policy)?.[1];
  return step === undefined ? null : Number(step);
}

/** Requests one replay of each reference solution. */
async function replays(run: Run, { publish }: Out) {
  const { id: stage, role } = run.roles.rollout;
  if (!role.demonstrate) throw new HoneError(messages.rollout_cannot_demonstrate(stage));
  const scenarios = demonstrated(run);
  if (scenarios.length === 0) {
    throw new HoneError(messages.no_demonstration(0, "no training scenario has a solution", run.run_dir));
  }
  run.progress.begin("replay solutions", scenarios.length, { phase: "replay" });
  const base = run.policies.get("base")!;
  for (const [index, { id, split }] of scenarios.entries()) {
    await publish("group.requested", {
      group_id: `demo-${id}`,
      scenario_id: id,
      purpose: "demonstration",
      split,
      policy: base.name,
      policy_version: base.version,
      temperature: base.sampling.temperature,
      step: -1,
      index,
      size: 1,
    });
  }
}

/** The RL rung in progress: `taken` of its steps have published their policy, the groups of `asked` are requested. */
class RlRung {
  #taken: number;
  #asked: number;
  /** The current policy. */
  #policy: string;
  #stopped = false;
  /** By policy, in order of steps. */
  #validated = new Map<string, ValidatedCheckpoint>();
  /** Checkpoint of the last step. */
  #latest: string;
  #since = performance.now();

  constructor(private readonly run: Run, validations: EventMap["evaluation.completed"][]) {
    const { recorded, pinned } = run;
    this.#taken = this.#asked = trainedSteps(run);
    this.#policy = run.policies.has("warm_start") ? "warm_start" : "base";
    this.#latest = (this.#taken > 0 ? recorded.checkpoint : pinned.warm_start) ?? "";
    const known = Map.groupBy(validations, ({ policy }) => policy);
    for (const [policy, all] of known) {
      const success = samplings(run).flatMap((sampling) => {
        return all.find(({ temperature }) => temperature === temperatureOf(run, sampling))?.success ?? [];
      });
      const checkpoint = recorded.policies.get(policy)?.checkpoint;
      if (checkpoint && success.length === samplings(run).length) this.#validated.set(policy, { checkpoint, success });
    }
    // Before the first step prunes: the chosen checkpoint may be older than the last one.
    this.#pin();
  }

  /** Continues from the records: requests the policy of the last recorded step. */
  async start(out: Out) {
    if (this.#taken === 0) return await this.#advance(out);
    const [name, version] = [`step-${this.#taken}`, firstVersion(this.run) + this.#taken];
    await out.publish("policy.requested", { name, version, checkpoint: this.#latest });
  }

  async published({ name, checkpoint }: EventMap["policy.published"], out: Out) {
    const step = stepOf(name);
    if (step === null || step < this.#taken) return;
    if (step > this.#taken) {
      const secs = (performance.now() - this.#since) / 1000;
      this.run.longest_step_secs = Math.max(this.run.longest_step_secs, secs);
    }
    this.#taken = step;
    this.#policy = name;
    this.#latest = checkpoint;
    const { validate_every } = this.run.config.train;
    if (validate_every === 0 || step % validate_every !== 0) return await this.#advance(out);
    this.#validated.set(name, { checkpoint, success: [] });
    await this.#validate(samplings(this.run)[0]!, out);
  }

  async #validate(sampling: Sampling, { publish }: Out) {
    const request = evaluation(this.run, this.#policy, { split: "validation", tries: 1, sampling });
    await publish("evaluation.requested", request);
  }

  async validated({ policy, success }: EventMap["evaluation.completed"], out: Out) {
    if (policy !== this.#policy) return;
    const { checkpoint, success: earlier } = this.#validated.get(policy)!;
    const successes = [...earlier, success];
    this.#validated.set(policy, { checkpoint, success: successes });
    const [done, next] = [samplings(this.run)[earlier.length]!, samplings(this.run)[successes.length]];
    if (success.n > 0) {
      const name = earlier.length === 0 ? "validation_success" : `validation_success_${done}`;
      const step = this.run.supervised_steps + this.#taken;
      await out.publish("metric.recorded", { name, value: success.mean, step, kind: "rl" });
    }
    if (next) return await this.#validate(next, out);
    this.#pin();
    await this.#advance(out);
  }

  #chosen(): string | undefined {
    return chosenCheckpoint([...this.#validated.values()], this.run.config.train.choose)?.checkpoint;
  }

  /** Keeps the chosen checkpoint, and, under a rule by which a later evaluation can choose an earlier one, all of them. */
  #pin() {
    const chosen = this.#chosen();
    const all = [...this.#validated.values()].map(({ checkpoint }) => checkpoint);
    this.run.pinned.validated = this.run.config.train.choose === "highest" ? chosen ? [chosen] : [] : all;
  }

  /** Requests the groups that are due; ends the rung when nothing is pending. */
  async #advance(out: Out) {
    const { steps, max_staleness, validate_every } = this.run.config.train;
    const validation = validate_every > 0 ? (Math.floor(this.#taken / validate_every) + 1) * validate_every : Infinity;
    const until = Math.min(steps, this.#taken + 1 + max_staleness, validation);
    this.#since = performance.now();
    if (this.#asked > this.#taken) this.#show();
    while (this.#asked < until && !await this.#stop()) {
      if (this.#asked === this.#taken) this.#show();
      await this.#request(++this.#asked, out);
    }
    if (this.#asked > this.#taken || (this.#taken < steps && !this.#stopped)) return;
    const checkpoint = this.#chosen() ?? this.#latest;
    await out.publish("rung.completed", { rung: "rl", steps: this.#taken, checkpoint });
  }

  #show() {
    const { groups_per_step, group_size, steps } = this.run.config.train;
    this.run.progress.begin("rl", groups_per_step * group_size, { step: this.#taken + 1, steps });
  }

  async #request(step: number, { publish }: Out) {
    const { groups_per_step } = this.run.config.train;
    const drawn = this.run.draw!.draw(step - 1, groups_per_step, await drawWeights(this.run, step));
    await this.#requestGroups(step, 0, drawn.map(({ id }) => id), publish);
  }

  /** Requests further groups of a step. */
  async replace({ step, index, scenario_ids }: EventMap["replacements.requested"], { publish }: Out) {
    this.run.progress.extend(scenario_ids.length * this.run.config.train.group_size);
    await this.#requestGroups(step, index, scenario_ids, publish);
  }

  async #requestGroups(step: number, first: number, scenario_ids: string[], publish: Publish) {
    const { group_size, temperature } = this.run.config.train;
    const { name, version } = this.run.policies.get(this.#policy)!;
    for (const [i, id] of scenario_ids.entries()) {
      const index = first + i;
      await publish("group.requested", {
        // From 0, as on tapes and in runs of earlier versions.
        group_id: `s${step - 1}-g${index}`,
        scenario_id: id,
        purpose: "train",
        split: "train",
        policy: name,
        policy_version: version,
        temperature,
        step,
        index,
        size: group_size,
      });
    }
  }

  /** Whether no further step may start; logs the reason once. */
  async #stop(): Promise<boolean> {
    if (this.#stopped) return true;
    const { run } = this;
    const why = limitReached(run, this.#asked - this.#taken + 1) ?? await learned(run);
    if (!why) return false;
    run.log.warn(`stopping after ${this.#asked} of ${run.config.train.steps} steps: ${why}`);
    return this.#stopped = true;
  }
}

/** The samplings of validations. */
function samplings({ config: { train, evaluate } }: Run): readonly Sampling[] {
  return train.validate_sampling ?? evaluate.sampling.slice(0, 1);
}
