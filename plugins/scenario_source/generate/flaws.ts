/**
 * Validates a draft on the real server, with the run's own judges: its solution reaches the goal, twice; doing nothing
 * does not; and a result of its calls supports the answer that is expected.
 * @module
 */
import type { SourceTools, Trial } from "@hone/hone";
import type { Draft } from "./compose.ts";
import { isGrounded } from "./facts.ts";

/** Why a draft was dropped; undefined for one that is kept. */
export async function flawOf(draft: Draft, tools: SourceTools): Promise<string | undefined> {
  const { scenario, stated } = draft;
  const solved = await tools.trial(scenario, { play: "solution" });
  if (solved.invalid !== undefined) return "it could not be judged";
  if (!solved.success) return "its solution does not solve it";
  if (stated !== undefined && !supports(solved, stated)) return "no result supports its answer";
  // After the solution: on a server that keeps state, what it has done is still there.
  const idle = await tools.trial(scenario, { play: "nothing" });
  if (idle.invalid !== undefined) return "it could not be judged";
  if (idle.success) return "doing nothing solves it";
  const again = await tools.trial(scenario, { play: "solution", seed: 1 });
  const same = again.success && String(outcomes(again)) === String(outcomes(solved)) &&
    (stated === undefined || supports(again, stated));
  return same ? undefined : "its second replay ends differently";
}

/** The folder's path differs from trial to trial, so values in it are found without it. */
function supports({ trajectory: { tool_calls } }: Trial, stated: string | number): boolean {
  return isGrounded(stated, tool_calls, null);
}

function outcomes({ trajectory: { tool_calls } }: Trial): string[] {
  return tool_calls.map(({ outcome }) => outcome);
}
