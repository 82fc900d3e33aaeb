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
import { evaluation, stands } from "../bindings/bind_measure.ts";
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
        await forgetValidations(run);
        run.draw = new ScenarioDraw(await trainable(run, out), run.config.seed);
        rung = new RlRung(run);
        await rung.start(out);
      },
      "replacements.requested": ({ data }, out) => rung!.replace(data, out),
      "policy.published": ({ data }, out) => rung?.published(data, out),
      "evaluation.completed": ({ data }, out) => data.split === "validation" ? rung?.validated(data, out) : undefined,
    },
  }];
}

/** Forgets recorded validations that changed stages would not make: they cannot be compared with later ones. */
async function forgetValidations(run: Run) {
  const { evaluations, validations } = run.recorded;
  for (const one of evaluations.values()) {
    if (one.split === "validation" && !(await stands(run, one))) validations.delete(one.policy);
  }
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
  #best: { success: number; checkpoint: string };
  /** Checkpoint of the last step. */
  #latest: string;
  #since = performance.now();

  constructor(private readonly run: Run) {
    const { recorded, pinned } = run;
    this.#taken = this.#asked = trainedSteps(run);
    this.#policy = run.policies.has("warm_start") ? "warm_start" : "base";
    this.#latest = (this.#taken > 0 ? recorded.checkpoint : pinned.warm_start) ?? "";
    this.#best = bestOf(run);
    // Before the first step prunes: the best checkpoint may be older than the last one.
    if (this.#best.checkpoint) pinned.best = this.#best.checkpoint;
  }

  /** Continues from the records: requests the policy of the last recorded step. */
  async start(out: Out) {
    if (this.#taken === 0) return await this.#advance(out);
    const [name, version] = [`step-${this.#taken}`, firstVersion(this.run) + this.#taken];
    await out.publish("policy.requested", { name, version, checkpoint: this.#latest });
  }

  async published({ name, checkpoint }: EventMap["policy.published"], out: Out) {
    const step = Number(/^step-(\d+)$/.exec(name)?.[1] ?? NaN);
    if (!(step >= this.#taken)) return;
    if (step > this.#taken) {
      const secs = (performance.now() - this.#since) / 1000;
      this.run.longest_step_secs = Math.max(this.run.longest_step_secs, secs);
    }
    this.#taken = step;
    this.#policy = name;
    this.#latest = checkpoint;
    const { validate_every } = this.run.config.train;
    if (validate_every === 0 || step % validate_every !== 0) return await this.#advance(out);
    const [sampling] = this.run.config.evaluate.sampling;
    await out.publish(
      "evaluation.requested",
      evaluation(this.run, name, { split: "validation", tries: 1, sampling: sampling! }),
    );
  }

  async validated({ policy, success }: EventMap["evaluation.completed"], out: Out) {
    if (policy !== this.#policy) return;
    const step = this.run.supervised_steps + this.#taken;
    await out.publish("metric.recorded", { name: "validation_success", value: success.mean, step, kind: "rl" });
    if (success.mean > this.#best.success) this.#best = { success: success.mean, checkpoint: this.#latest };
    this.run.pinned.best = this.#best.checkpoint;
    await this.#advance(out);
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
    const checkpoint = this.#best.checkpoint || this.#latest;
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

/** The checkpoint with the highest validation success so far, the first of equals. */
function bestOf({ recorded: { validations, policies } }: Run) {
  let best = { success: -1, checkpoint: "" };
  for (const [name, success] of validations) {
    if (success > best.success) best = { success, checkpoint: policies.get(name)?.checkpoint ?? "" };
  }
  return best;
}
