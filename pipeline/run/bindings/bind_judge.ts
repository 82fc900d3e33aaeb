/**
 * group.completed → each judge, concurrently → judgement.made, one for each rollout that can be judged. A judge that
 * throws, times out or returns no valid judgement yields `invalid`, with its name; a relative one abstains outside of
 * training, where there is no group to compare a rollout with. A score without the observation that its judge makes is
 * `invalid`.
 * @module
 */
import type { Out } from "../../bus.ts";
import { limited, TimeUp } from "../../common/deadline.ts";
import type { Judgement, Outcome, Purpose, Scenario, Trajectory } from "../../events.ts";
import { checkedJudgements, failedJudgement, hasFailed } from "../../kinds/judgements.ts";
import { partOf } from "../../scenario/parts.ts";
import { storedJudgements, storedLabels } from "../../store/recorded.ts";
import type { Bound } from "../bindings.ts";
import type { Group, Run, StagedJudge } from "../context.ts";
import { judgementMaker } from "../made_by.ts";

/** Infrastructure failures: they say nothing about the policy. */
export const FAILURES: ReadonlySet<string> = new Set<Outcome["end"]>([
  "server_failed",
  "endpoint_failed",
  "cancelled",
  "timeout",
  "tape_miss",
]);

/** Whether the rollout can be judged. */
export function isJudgeable({ outcome }: Pick<Trajectory, "outcome">): boolean {
  return !FAILURES.has(outcome.end);
}

/** Binds every judge. */
export function bind(run: Run): Bound[] {
  return run.roles.judges.map((judge) => ({
    stage: judge.id,
    on: { "group.completed": ({ data }, out) => judgeGroup(run, judge, run.groups.get(data.group_id), out) },
  }));
}

/** Runs one judge on a group. A group in which nothing can be judged may be shaped, and gone, before it gets here. */
async function judgeGroup(run: Run, judge: StagedJudge, group: Group | undefined, { deliver, cause }: Out) {
  const judgeable = group?.trajectories.filter(isJudgeable) ?? [];
  if (!group || judgeable.length === 0) return;
  const ids = judgeable.map(({ rollout_id }) => rollout_id);
  const made_by = judgementMaker(judge, group.scenario);
  const stored = run.resumed ? await storedJudgements(run.store, judge.id, ids, made_by) : null;
  // A judge that failed may succeed now: nothing was trained or measured with what it failed to say.
  const known = ids.every((id) => stored?.has(id) && !hasFailed(stored.get(id)!));
  if (!known) group.judged_anew = true;
  const { scenario, request: { group_id, purpose } } = group;
  const made = known
    ? ids.map((id) => stored!.get(id)!)
    : await askJudge(run, judge, { scenario, purpose, group: judgeable, signal: run.signal, cause });
  const by = made_by === undefined ? {} : { made_by };
  await Promise.all(
    made.map((judgement, index) =>
      deliver("judgement.made", { rollout_id: ids[index]!, group_id, judge: judge.id, ...by, ...judgement }, known)
    ),
  );
}

/** What a judge is asked about. */
export interface Question {
  scenario: Scenario;
  purpose: Purpose;
  /** Rollouts of the scenario, each of which can be judged. */
  group: Trajectory[];
  signal: AbortSignal;
  /** The event that asks. */
  cause?: number;
}

/** One judgement for each rollout, in order. Throws only if the signal is aborted. */
export async function askJudge(
  { llm, catalog, store }: Pick<Run, "llm" | "catalog" | "store">,
  { id, role, part, timeout_secs }: StagedJudge,
  { scenario, purpose, group, signal: ends, cause }: Question,
): Promise<Judgement[]> {
  const all = (judgement: Judgement) => group.map(() => judgement);
  if (role.scale === "relative" && purpose !== "train") return all({ abstain: "relative: used only in training" });
  try {
    const made = await limited(timeout_secs, ends, async (signal) => {
      const expected = part ? partOf(scenario, part) : undefined;
      return await role.judge({
        group,
        scenario,
        expected,
        signal,
        llm: llm(id, signal, cause),
        tools: catalog?.tools ?? [],
        labels: () => storedLabels(store, group.map(({ rollout_id }) => rollout_id)),
      });
    });
    return checkedJudgements(made, group.length, id).map((judgement, index) =>
      "score" in judgement && role.observe && !Object.hasOwn(group[index]!.observations, id)
        ? { invalid: `judge ${JSON.stringify(id)} scored a rollout whose environment it could not observe` }
        : judgement
    );
  } catch (error) {
    ends.throwIfAborted();
    const { invalid } = failedJudgement(error instanceof TimeUp ? `no judgement within ${error.seconds} s` : error);
    return all({ invalid: `${invalid}${hint(error)}` });
  }
}

/** Hint for a judge written for an earlier version of hone, whose argument was the group. */
function hint(error: unknown): string {
  const old = error instanceof TypeError && /is not (a function|iterable)/.test(error.message);
  return old ? " (a judge receives one object: judge({ group, scenario, signal, llm }))" : "";
}
