/** Messages about the command line. @module */
import { nearest, quote, say } from "./diagnostic.ts";

/** Problems of the command line. */
export const cli = {
  no_such_files: (pattern: string) => say("NO_SUCH_FILES", `No file matches ${quote(pattern)}`),
  no_pipelines_in: (folder: string) =>
    say("NO_SUCH_FILES", `No pipeline in folder ${quote(folder)}: expected a .yaml file with name and stages`),
  no_plugins_of: (kind: string) => say("NO_PLUGINS", `No built-in plugin of kind ${kind}`),
  unknown_kind: (kind: string, kinds: readonly string[]) => {
    const meant = nearest(kind, kinds);
    return say(
      "UNKNOWN_KIND",
      `Cannot create a plugin of kind ${quote(kind)}: expected one of ${kinds.join(", ")}`,
      meant && `did you mean ${quote(meant)}?`,
    );
  },
  plugin_name: (name: string) =>
    say(
      "PLUGIN_NAME",
      `Cannot name a plugin ${quote(name)}: expected lower-case letters, digits and -, as in exact-match`,
    ),
  unknown_verb: (word: string, near: string | undefined) =>
    say(
      "UNKNOWN_VERB",
      `Unknown command ${quote(word)}: expected a command or a .yaml file`,
      near ? `did you mean ${quote(near)}?` : "`hone --help` lists the commands.",
    ),
  unknown_subcommand: (first: string, second: string | undefined, near: string | undefined, known: string[]) =>
    say(
      "UNKNOWN_VERB",
      second === undefined
        ? `Command ${quote(first)} needs a second word: expected one of ${known.join(", ")}`
        : `Unknown command ${quote(`${first} ${second}`)}: expected ${quote(first)} and one of ${known.join(", ")}`,
      near ? `did you mean ${quote(`${first} ${near}`)}?` : `\`hone ${first} --help\` lists them.`,
    ),
  no_scenarios_to_check: (split: string | undefined) =>
    say(
      "NO_SCENARIOS",
      `Cannot check scenarios: the pipeline has none${split === undefined ? "" : ` of split ${quote(split)}`}`,
    ),
  nothing_generates: (path: string, use: string) =>
    say(
      "NOTHING_GENERATES",
      `Cannot generate scenarios: ${quote(path)} has no stage ${quote(use)}`,
      `add \`- use: ${use}\` to its stages`,
    ),
  unknown_flag: (verb: string, flag: string, near: string | undefined, known: string[]) =>
    say(
      "UNKNOWN_FLAG",
      `Unknown flag ${quote(flag)} of ${verb}`,
      near ? `did you mean ${near}?` : `Flags: ${known.join(", ")}.`,
    ),
  bad_line: (verb: string, reason: string) =>
    say("BAD_LINE", `Cannot read the command line of ${verb}: ${reason}`, `\`hone ${verb} --help\` shows the usage.`),
  bad_value: (flag: string, value: string, wanted: string) =>
    say("BAD_VALUE", `Cannot use ${quote(value)} for ${flag}: ${wanted}`),
  unknown_query: (name: string, known: readonly string[]) => {
    const meant = nearest(name, known);
    return say(
      "UNKNOWN_QUERY",
      `No ready-made query is called ${quote(name)}: expected one of ${known.join(", ")}`,
      meant ? `did you mean @${meant}?` : "`hone query --list` tells what each of them shows.",
    );
  },
  query_without_value: (name: string) => say("QUERY_VALUE", `Cannot use --value: the query @${name} takes none`),
  value_without_query: () =>
    say("QUERY_VALUE", "Cannot use --value with a statement: it is for ready-made queries (`hone query --list`)"),
  missing_argument: (verb: string, name: string) =>
    say("MISSING_ARGUMENT", `Cannot ${verb}: <${name}> is missing`, `\`hone ${verb} --help\` shows the usage.`),
  missing_flag: (verb: string, flag: string, wanted: string) =>
    say(
      "MISSING_FLAG",
      `Cannot ${verb}: ${flag} is missing. ${wanted}`.trim(),
      verb === "call"
        ? "`hone discover` with the same server lists its tools."
        : `\`hone ${verb} --help\` shows the usage.`,
    ),
  dashes_missing: (verb: string, before: string[], command: string[]) =>
    say(
      "DASHES_MISSING",
      `Cannot tell the flags of ${quote(command.join(" "))} from those of hone: write a command after --`,
      ["hone", verb, ...before, "--", ...command].join(" "),
    ),
  extra_argument: (verb: string, value: string) =>
    say(
      "EXTRA_ARGUMENT",
      `Cannot ${verb} with ${quote(value)}: too many arguments`,
      `\`hone ${verb} --help\` shows the usage.`,
    ),
  run_exists: (run_dir: string) =>
    say(
      "RUN_EXISTS",
      `Cannot start a run in ${quote(run_dir)}: a run already exists there`,
      "`hone resume` continues it; another --run-dir starts a new one.",
    ),
  no_such_policy: (run_dir: string, policy: string, have: string[]) =>
    say(
      "NO_SUCH_POLICY",
      `Cannot evaluate ${quote(policy)}: no policy of that name in ${quote(run_dir)}`,
      `Its policies: ${have.join(", ")}.`,
    ),
  no_weights: (folder: string) =>
    say(
      "NO_WEIGHTS",
      `Cannot evaluate ${quote(folder)}: no such folder`,
      "Expected a run's adapter/ or a folder of its checkpoints/.",
    ),
  weights_twice: () =>
    say("WEIGHTS_TWICE", "Cannot evaluate with both --adapter and --checkpoint: they are synonyms", "Give one."),
  model_is_address: (address: string) =>
    say(
      "MODEL_IS_ADDRESS",
      `Cannot use ${quote(address)} for --model: expected the name of a model`,
      "Give the address with --base-url, and the model's name at this endpoint with --model.",
    ),
  servers_twice: () => say("SERVERS_TWICE", "Cannot use both --servers and --mcp-url", "Give one."),
  too_few_gpus: (wanted: number, there: number) =>
    say(
      "NO_GPU",
      `Cannot train on ${wanted} ${wanted === 1 ? "GPU" : "GPUs"}: this machine has ${
        there === 0 ? "no NVIDIA GPU (nvidia-smi)" : there
      }`,
      there === 0
        ? "Leave --num-gpus out: trainer/mlx uses this machine's CPU, or Metal on a Mac."
        : `Give --num-gpus ${there} or less.`,
    ),
  policy_named_twice: (policy: string) =>
    say("POLICY_TWICE", `Cannot evaluate ${quote(policy)} twice: two of the named policies have this name`),
  prompt_missing: () =>
    say(
      "PROMPT_MISSING",
      'Cannot evaluate "prompt": the pipeline has no agent.examples, and no run has searched for them',
      "Name a run whose ladder has the prompt rung, or add agent.examples.",
    ),
  nothing_attempted: (policies: string[], split: string) =>
    say(
      "NOTHING_ATTEMPTED",
      `Nothing was evaluated: no ${split} scenario can be attempted by ${policies.join(", ")}`,
      'The policy "reference" attempts only scenarios with a solution.',
    ),
  weights_missing: (policy: string) =>
    say(
      "WEIGHTS_MISSING",
      `Cannot evaluate ${quote(policy)}: a pipeline file has no trained weights`,
      "Name a run instead of a pipeline, or add --adapter with a run's adapter/ folder.",
    ),
  adapter_of_hosted: () =>
    say(
      "ADAPTER_OF_HOSTED",
      "Cannot evaluate an adapter: the trainer of this pipeline is hosted and serves only its own checkpoints",
      "Name one of them with --checkpoint.",
    ),
  weights_without_trainer: () =>
    say(
      "WEIGHTS_WITHOUT_TRAINER",
      "Cannot evaluate an adapter: the pipeline has no trainer to serve it",
      "Add `- use: trainer/mlx` or `- use: trainer/lightning` to its stages.",
    ),
  not_consented: () =>
    say(
      "NOT_CONSENTED",
      "Cannot run: the pipeline's programs were not approved",
      "Review the pipeline file, then run it with --yes.",
    ),
  nobody_to_ask: () =>
    say(
      "NOT_CONSENTED",
      "Cannot start the programs listed above: they are not approved, and without a terminal hone cannot ask",
      "Review them, then approve them with --yes; hone remembers that until one of them changes.",
    ),
  not_a_run: (dir: string) =>
    say(
      "NOT_A_RUN",
      `Cannot write a report into ${quote(dir)}: its run.duckdb is a link, so it is not a run's own folder`,
    ),
  path_outside: (path: string, root: string) =>
    say(
      "PATH_OUTSIDE",
      `Cannot use ${quote(path)}: hone's MCP server reads only below the folder that it was started in and its runs/`,
      `That folder is ${root}.`,
    ),
  unexpected: (message: string, place: string | undefined) =>
    say(
      "UNEXPECTED",
      message,
      `This looks like a bug in hone${place ? `, at ${place}` : ""}: please report it.`,
    ),
  no_home: () =>
    say(
      "NO_HOME",
      "Cannot find a folder for hone's cache: this user has no home folder",
      "Set HONE_CACHE_DIR or HOME.",
    ),
  system_error: (action: string, path: string | undefined, reason: string, hint: string | undefined) =>
    say("SYSTEM_ERROR", `Cannot ${action}${path === undefined ? "" : ` ${quote(path)}`}: ${reason}`, hint),
  plugin_not_allowed: (use: string, builtin: string[]) =>
    say(
      "PLUGIN_NOT_ALLOWED",
      `Cannot show plugin ${quote(use)}: loading it runs its code, and this server was started without --allow-run`,
      `Built-in plugins: ${builtin.join(", ")}.`,
    ),
  file_exists: (path: string) => say("FILE_EXISTS", `Cannot write ${quote(path)}: the file already exists`),
};
