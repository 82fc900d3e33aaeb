/**
 * A trial: one judged rollout outside of the training loop, on a leased environment, with the run's own rollout plugin
 * and judges. Nothing of it is recorded in the run's tables (requests to language models are, as always). Scenario
 * sources and `hone scenarios check` use trials to see what a scenario's checks accept.
 * @module
 */
import type { Publish } from "../bus.ts";
import { hash32 } from "../common/random.ts";
import type { Judgement, RolloutRef, Scenario, Trajectory } from "../events.ts";
import type { Play, Trial, TrialOptions } from "../plugin.ts";
import { fitTools } from "../scenario/tool_lists.ts";
import { askJudge, isJudgeable } from "./bindings/bind_judge.ts";
import { decide } from "./bindings/bind_reward_shaper.ts";
import type { Run } from "./context.ts";
import { playRollout, unplayed } from "./leased_rollout.ts";
import { basePolicy } from "./policies.ts";
import { NOTHING, type Solution } from "./reference_solution.ts";

const unrecorded: Publish = () => Promise.resolve();

/**
 * Plays and judges one rollout of the scenario, which need not be one of the run's. Callers limit how many run at once.
 * Throws only if a signal is aborted, the policy cannot be opened, or the scenario has no solution to play.
 */
export async function trial(run: Run, scenario: Scenario, options: TrialOptions): Promise<Trial> {
  const signal = options.signal ? AbortSignal.any([run.signal, options.signal]) : run.signal;
  signal.throwIfAborted();
  const replay = replayed(scenario, options.play);
  const played = replay ? scenario : await offered(run, scenario, options.play as { policy: string });
  const ref = reference(run, scenario, options);
  const trajectory = unplayed(ref);
  await playRollout({ run, scenario: played, replay, publish: unrecorded, signal }, ref, trajectory, []);
  signal.throwIfAborted();
  return await judged(run, played, trajectory, signal);
}

function replayed(scenario: Scenario, play: Play): Solution | undefined {
  if (play === "nothing") return NOTHING;
  if (play !== "solution") return "policy" in play ? undefined : play;
  if (!scenario.solution) throw new Error(`scenario ${JSON.stringify(scenario.id)} has no solution to play`);
  return scenario.solution;
}

/** The scenario with the tools that the policy is offered. */
async function offered(run: Run, scenario: Scenario, { policy: name }: { policy: string }): Promise<Scenario> {
  await basePolicy(run);
  const policy = run.policies.get(name);
  if (!policy) throw new Error(`no policy ${JSON.stringify(name)}: expected ${[...run.policies.keys()].join(" or ")}`);
  const [fitted] = await fitTools({ ...run, scenarios: [scenario] }, policy);
  return fitted!;
}

function reference(run: Run, { id, split }: Scenario, { play, seed = 0, temperature }: TrialOptions): RolloutRef {
  const what = typeof play === "string"
    ? play
    : "policy" in play
    ? play.policy
    : `calls-${hash32(JSON.stringify(play))}`;
  const policy = typeof play === "object" && "policy" in play ? play.policy : "base";
  const group_id = `trial-${id}-${what}`;
  return {
    rollout_id: `${group_id}-${seed}`,
    group_id,
    scenario_id: id,
    purpose: "evaluation",
    split,
    policy,
    policy_version: run.policies.get(policy)?.version ?? 0,
    temperature: temperature ?? run.agent.temperature,
    step: -1,
    try: 0,
    seed,
    attempt: 1,
  };
}

async function judged(run: Run, scenario: Scenario, trajectory: Trajectory, signal: AbortSignal): Promise<Trial> {
  const { outcome } = trajectory;
  if (!isJudgeable(trajectory)) {
    const invalid = outcome.cause ?? outcome.end;
    return { trajectory, judgements: {}, success: false, invalid, reason: invalid };
  }
  const question = { scenario, purpose: "evaluation" as const, group: [trajectory], signal };
  const made = await Promise.all(
    run.roles.judges.map(async (judge) => [judge.id, (await askJudge(run, judge, question))[0]!] as const),
  );
  const judgements = Object.fromEntries(made);
  const decision = decide(run, judgements);
  if (typeof decision === "string") {
    return { trajectory, judgements, success: false, invalid: decision, reason: decision };
  }
  return { trajectory, judgements, success: decision, reason: reasonOf(run, judgements, decision) };
}

/** What the decisive judges say: of a failure, those that scored it below success. */
function reasonOf({ roles, config }: Run, judgements: Record<string, Judgement>, success: boolean): string {
  const said = roles.judges.filter(({ role }) => role.decisive).flatMap(({ id }) => {
    const one = judgements[id]!;
    return "score" in one ? [{ id, ...one }] : [];
  });
  const telling = success ? said : said.filter(({ score }) => score < config.evaluate.success_at);
  return telling.map(({ id, reason }) => `${id}: ${reason}`).join("; ");
}
