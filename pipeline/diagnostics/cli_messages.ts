/** Messages about the command line. @module */
import { nearest, quote, say } from "./diagnostic.ts";

/** Problems of the command line. */
export const cli = {
  no_such_files: (pattern: string) => say("NO_SUCH_FILES", `No file matches ${quote(pattern)}`),
  no_plugins_of: (kind: string) => say("NO_PLUGINS", `No built-in plugin is a ${kind}`),
  unknown_kind: (kind: string, kinds: readonly string[]) => {
    const meant = nearest(kind, kinds);
    return say(
      "UNKNOWN_KIND",
      `Cannot make a plugin of kind ${quote(kind)}: wanted one of ${kinds.join(", ")}`,
      meant && `did you mean ${quote(meant)}?`,
    );
  },
  plugin_name: (name: string) =>
    say(
      "PLUGIN_NAME",
      `Cannot name a plugin ${quote(name)}: wanted lower case letters, digits and -, as in exact-match`,
    ),
  unknown_verb: (word: string, near: string | undefined) =>
    say(
      "UNKNOWN_VERB",
      `Cannot do ${quote(word)}: there is no such verb, and it is not a .yaml file`,
      near ? `did you mean ${quote(near)}?` : "`hone --help` lists the verbs.",
    ),
  unknown_flag: (verb: string, flag: string, near: string | undefined, known: string[]) =>
    say(
      "UNKNOWN_FLAG",
      `Cannot read ${quote(flag)}: ${verb} has no such flag`,
      near ? `did you mean ${near}?` : `Flags: ${known.join(", ")}.`,
    ),
  bad_line: (verb: string, reason: string) =>
    say("BAD_LINE", `Cannot read the command line of ${verb}: ${reason}`, `\`hone ${verb} --help\` shows its form.`),
  bad_value: (flag: string, value: string, wanted: string) =>
    say("BAD_VALUE", `Cannot use ${quote(value)} for ${flag}: ${wanted}`),
  missing_argument: (verb: string, name: string) =>
    say("MISSING_ARGUMENT", `Cannot ${verb}: <${name}> is missing`, `\`hone ${verb} --help\` shows its form.`),
  missing_flag: (verb: string, flag: string, wanted: string) =>
    say(
      "MISSING_FLAG",
      `Cannot ${verb}: ${flag} is missing. ${wanted}`.trim(),
      verb === "call"
        ? "`hone discover` with the same server lists its tools."
        : `\`hone ${verb} --help\` shows its form.`,
    ),
  dashes_missing: (verb: string, before: string[], command: string[]) =>
    say(
      "DASHES_MISSING",
      `Cannot tell the flags of ${quote(command.join(" "))} from those of hone: a command goes after --`,
      ["hone", verb, ...before, "--", ...command].join(" "),
    ),
  extra_argument: (verb: string, value: string) =>
    say(
      "EXTRA_ARGUMENT",
      `Cannot ${verb} with ${quote(value)}: that is one argument too many`,
      `\`hone ${verb} --help\` shows its form.`,
    ),
  run_exists: (run_dir: string) =>
    say(
      "RUN_EXISTS",
      `Cannot start a run in ${quote(run_dir)}: a run is there already`,
      "`hone resume` continues it; another --run-dir starts anew.",
    ),
  no_such_policy: (run_dir: string, policy: string, have: string[]) =>
    say(
      "NO_SUCH_POLICY",
      `Cannot evaluate ${quote(policy)}: ${quote(run_dir)} has published no checkpoint of that name`,
      `Policies it has: ${["base", ...have].join(", ")}.`,
    ),
  no_weights: (folder: string) =>
    say(
      "NO_WEIGHTS",
      `Cannot evaluate ${quote(folder)}: no such folder`,
      "Wanted a run's adapter/ or a folder of its checkpoints/.",
    ),
  weights_twice: () =>
    say("WEIGHTS_TWICE", "Cannot evaluate with both --adapter and --checkpoint: they name the same thing", "Give one."),
  weights_missing: (policy: string) =>
    say(
      "WEIGHTS_MISSING",
      `Cannot evaluate ${quote(policy)}: a pipeline file has no trained weights`,
      "Give a run instead of a pipeline, or --adapter with a run's adapter/ folder.",
    ),
  weights_without_trainer: () =>
    say(
      "WEIGHTS_WITHOUT_TRAINER",
      "Cannot evaluate an adapter: the pipeline has no trainer that could serve it",
      "Add `- use: trainer/mlx` to its stages.",
    ),
  not_consented: () =>
    say(
      "NOT_CONSENTED",
      "Cannot run: the pipeline's programs were not agreed to",
      "Look at the pipeline file, then run it with --yes.",
    ),
  unexpected: (error: Error) =>
    say(
      "UNEXPECTED",
      error.stack ?? error.message,
      "This looks like a fault of hone; --verbose shows what went before.",
    ),
  plugin_not_allowed: (use: string, builtin: string[]) =>
    say(
      "PLUGIN_NOT_ALLOWED",
      `Cannot show plugin ${
        quote(use)
      }: loading it would run its code, and this server was started without --allow-run`,
      `Built in are: ${builtin.join(", ")}.`,
    ),
  file_exists: (path: string) => say("FILE_EXISTS", `Cannot write ${quote(path)}: it is there already`),
};
