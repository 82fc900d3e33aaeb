/** Messages about audits of judges: what cannot be audited, and what the figures say, in plain words. @module */
import { type Diagnostic, quote, say } from "./diagnostic.ts";

/** A share or a mean with its interval. */
interface Shown {
  mean: number;
  low: number;
  high: number;
  n: number;
}

/** Problems of an audit, and its warnings. */
export const audits = {
  which_judge: (wanted: string | undefined, judges: string[]) =>
    say(
      "AUDIT_WHICH_JUDGE",
      wanted === undefined
        ? `Cannot choose a judge to audit: the pipeline has ${judges.map(quote).join(", ")}`
        : `Cannot audit judge ${quote(wanted)}: the pipeline has ${judges.map(quote).join(", ")}`,
      `Name one, for example --judge ${judges[0] ?? "rubric"}.`,
    ),
  second_has_no_endpoint: (judge: string) =>
    say(
      "AUDIT_SECOND",
      `Cannot have another model judge as ${quote(judge)} does: its settings have no \`endpoint\``,
      "Name another judge of the pipeline: --second <stage id>.",
    ),
  second_unreadable: (given: string, cause: string) =>
    say(
      "AUDIT_SECOND",
      `Cannot read --second ${quote(given)}: ${cause}`,
      'Expected a judge of the pipeline (its stage id), or an endpoint: --second "{ base_url: …, model: … }".',
    ),
  no_rollouts: (run_dir: string) =>
    say("AUDIT_NOTHING", `Cannot audit a judge on the run in ${quote(run_dir)}: no rollout of it can be judged`),
  live: (run_dir: string) =>
    say(
      "RUN_LIVE",
      `Cannot audit a judge on the run in ${quote(run_dir)}: a process is still using it`,
      "Wait for its end, or stop it (`hone pause`).",
    ),
  not_approved: () =>
    say(
      "NOT_CONSENTED",
      "Cannot send the requests listed above: they were not approved",
      "Approve them with --yes, or limit what they may cost with --usd.",
    ),
  disagrees: (with_what: string, { mean, low, high, n }: Shown, kappa: number | null): Diagnostic =>
    say(
      "JUDGE_DISAGREES",
      `The judge agrees with ${with_what} on ${share(mean)} of ${n} (95 % interval ${share(low)} to ${share(high)}` +
        `${
          kappa === null ? "" : `, kappa ${kappa.toFixed(2)}`
        }): its scores do not tell solved from unsolved tasks well enough`,
    ),
  order: ({ mean, low, high, n }: Shown): Diagnostic =>
    say(
      "JUDGE_ORDER",
      `Shown the same rollouts in reverse order, the judge prefers the other one in ${share(mean)} of ${n} pairs ` +
        `(${share(low)} to ${share(high)}): where a rollout is shown decides part of its score`,
    ),
  rewards_empty: (shown: Shown): Diagnostic =>
    say(
      "JUDGE_REWARDS_EMPTY",
      `Doing nothing and saying nothing earns ${meanOf(shown)}: the judge rewards empty answers`,
    ),
  rewards_confidence: (shown: Shown): Diagnostic =>
    say(
      "JUDGE_REWARDS_CONFIDENCE",
      `Doing nothing and claiming success earns ${meanOf(shown)}: the judge believes claims that no call supports`,
    ),
  rewards_format: (shown: Shown): Diagnostic =>
    say(
      "JUDGE_REWARDS_FORMAT",
      `The same answer with headings, bold text, bullets and emoji earns ${
        gainOf(shown)
      } more: the judge rewards formatting`,
    ),
  rewards_length: (shown: Shown): Diagnostic =>
    say("JUDGE_REWARDS_LENGTH", `The same answer, repeated, earns ${gainOf(shown)} more: the judge rewards length`),
  often_invalid: (invalid: number, total: number, cause: string): Diagnostic =>
    say("JUDGE_OFTEN_INVALID", `${invalid} of ${total} judgements are invalid, most often: ${cause}`),
};

function share(value: number): string {
  return value.toFixed(2);
}

function meanOf({ mean, low, high, n }: Shown): string {
  return `${share(mean)} on average (${share(low)} to ${share(high)}, ${n} tasks)`;
}

function gainOf({ mean, low, high, n }: Shown): string {
  return `${share(mean)} (${share(low)} to ${share(high)}, ${n} tasks)`;
}
