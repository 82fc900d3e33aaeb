/** Messages about people's labels of rollouts: `hone label` and files of labels. @module */
import { counted, quote, say, shellPath } from "./diagnostic.ts";

const SHOWN = 5;

/** Problems of labels. */
export const labels = {
  unknown_rollouts: (run_dir: string, ids: string[]) => {
    const more = ids.length > SHOWN ? ` and ${ids.length - SHOWN} more` : "";
    return say(
      "LABEL_UNKNOWN_ROLLOUT",
      `Cannot label ${ids.slice(0, SHOWN).map(quote).join(", ")}${more}: no such ${
        ids.length === 1 ? "rollout" : "rollouts"
      } in run ${quote(run_dir)}`,
      `\`hone query ${shellPath(run_dir)} "SELECT rollout_id, scenario_id, policy FROM rollouts"\` lists them.`,
    );
  },
  bad_thumb: (given: string | undefined) =>
    say(
      "LABEL_INVALID",
      given === undefined
        ? "Cannot label: no thumb is given: expected up or down"
        : `Cannot label with ${quote(given)}: expected up or down`,
    ),
  no_rollout: () => say("LABEL_INVALID", "Cannot label: expected a rollout and up or down, --import or --list"),
  not_together: (first: string, second: string) =>
    say("LABEL_INVALID", `Cannot use ${first} together with ${second}: expected one of them`),
  bad_file: (path: string, problems: string[]) =>
    say(
      "LABEL_FILE_INVALID",
      `Cannot import labels from ${quote(path)}: ${problems.slice(0, SHOWN).join("; ")}${
        problems.length > SHOWN ? `; and ${counted(problems.length - SHOWN, "more problem")}` : ""
      }`,
      'expected what the report saves: { "labels": [{ "rollout_id": "…", "score": 1, "reason": "…" }] }',
    ),
  of_other_run: (path: string, run_id: string, own: string) =>
    say(
      "LABEL_FILE_OF_OTHER_RUN",
      `Cannot import labels from ${quote(path)}: they are of run ${quote(run_id)}, not of ${quote(own)}`,
    ),
};
