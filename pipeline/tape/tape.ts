/**
 * What the runner sees of a tape, whether it records or replays: environments in place of the pool's, the policy as a
 * rollout reaches it, observations, and how a rollout ended. Rollout and judge plugins do not know of it.
 * @module
 */
import type { Json, Outcome } from "../events.ts";
import type { Environments, Lease } from "../mcp/pool/pool.ts";
import type { Policy } from "../plugin.ts";

/** A tape that a run records or replays. */
export interface Tape extends AsyncDisposable {
  environments: Environments;
  /** The policy for this rollout: the same, reached by another address where replies are on the tape. */
  policy(lease: Lease, policy: Policy): Policy;
  /** What a judge observes of this environment. */
  observed(lease: Lease, judge: string, observe: () => Promise<Json>): Promise<Json>;
  /** How the rollout ended: as the plugin says, or because the tape did not have what it asked for. */
  settled(lease: Lease, outcome: Outcome): Outcome;
}

/** Arguments of a lease. */
export type LeaseArgs = Parameters<Environments["lease"]>[0];
