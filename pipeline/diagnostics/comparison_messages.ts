/** Messages about comparisons of two policies. @module */
import { quote, say } from "./diagnostic.ts";

/** Problems of `hone compare`. */
export const comparisons = {
  which_judge: (wanted: string | undefined, relative: string[]) =>
    say(
      "COMPARE_JUDGE",
      wanted !== undefined
        ? `Cannot compare with judge ${quote(wanted)}: expected the id of a judge that compares rollouts`
        : relative.length === 0
        ? "Cannot compare policies: the pipeline has no judge that compares rollouts"
        : `Cannot compare policies: the pipeline has ${relative.length} judges that compare rollouts`,
      relative.length === 0
        ? "Add judge/pairwise or judge/ruler to the pipeline's stages, or name another pipeline (`--pipeline`)."
        : `Name one: --judge ${relative.join(", --judge ")}`,
    ),
  no_pairs: (run_dir: string, policies: string[], split: string, evaluated: string[]) =>
    say(
      "COMPARE_NO_PAIRS",
      `Cannot compare ${policies.map(quote).join(" with ")}: the run in ${
        quote(run_dir)
      } has no ${split} scenario that ` +
        "both attempted alike and that can be judged",
      evaluated.length > 0 ? `Policies evaluated on ${split}: ${evaluated.join(", ")}` : undefined,
    ),
};
