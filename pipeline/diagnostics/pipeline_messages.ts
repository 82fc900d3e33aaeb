/** Messages about a pipeline file: its fields, plugins and scenarios. @module */
import { nearest, quote, say, typeName } from "./diagnostic.ts";
import { PRICE } from "./llm_messages.ts";

/** With a field that was probably meant, a list of all fields is shown up to this length. */
const FEW = 12;

/** Problems of a pipeline file, found before the run starts. `field` is a path such as `stages[2].with.weights`. */
export const config = {
  file_not_found: (path: string) => say("FILE_NOT_FOUND", `Cannot read pipeline ${quote(path)}: no such file`),
  file_unreadable: (path: string, cause: string) => say("FILE_UNREADABLE", `Cannot read ${quote(path)}: ${cause}`),
  pipeline_is_folder: (path: string, inside: string | undefined) =>
    say(
      "PIPELINE_IS_FOLDER",
      `Cannot run ${quote(path)}: it is a folder, and a pipeline is a YAML file`,
      inside && `did you mean ${quote(inside)}?`,
    ),
  empty_file: () =>
    say("EMPTY_FILE", "The file is empty: a pipeline needs at least name and stages", "start from examples/files"),
  not_a_pipeline: () => say("NOT_A_PIPELINE", "This is not a pipeline: it has neither name nor stages"),
  not_a_map: (got: unknown) => say("NOT_A_MAP", `A pipeline is a map of fields, not ${typeName(got)}`),
  endpoint_unpriced: (field: string) =>
    say("LLM_UNPRICED", `${field} states no price, and limits.usd is set: expected \`price\``, PRICE),
  not_approved: (uses: string[]) =>
    say(
      "NOT_CONSENTED",
      `Cannot load ${uses.map(quote).join(", ")}: loading a plugin runs its code, which was not approved`,
      "Review it, then approve it with --yes.",
    ),
  plugin_changed: (use: string) =>
    say("PLUGIN_CHANGED", `Cannot load plugin ${quote(use)}: it was changed while it was being approved`, "Try again."),
  yaml_syntax: (cause: string) => say("YAML_SYNTAX", `Cannot read the YAML: ${cause}`),
  unknown_field: (key: string, parent: string, fields: string[]) => {
    if (fields.includes(key)) {
      return say(
        "UNKNOWN_FIELD",
        `Field ${quote(key)} cannot be combined with the other fields of ${parent || "the file"}`,
      );
    }
    const meant = nearest(key, fields);
    const few = fields.length > 0 && (!meant || fields.length <= FEW);
    return say(
      "UNKNOWN_FIELD",
      `Unknown field ${quote(key)}${parent ? ` in ${parent}` : ""}${meant ? `: did you mean ${quote(meant)}?` : ""}`,
      few ? `fields here: ${fields.join(", ")}` : undefined,
    );
  },
  missing_field: (field: string, wanted: string) => say("MISSING_FIELD", `${field} is missing: expected ${wanted}`),
  wrong_type: (field: string, got: unknown, wanted: string) =>
    say(
      "WRONG_TYPE",
      `${field} is ${typeof got === "object" ? typeName(got) : quote(got)}: expected ${wanted}`,
      got === null ? "remove the field to use its default" : undefined,
    ),
  wrong_value: (field: string, got: unknown, values: unknown[]) => {
    const meant = typeof got === "string" ? nearest(got, values.map(String)) : undefined;
    const wanted = values.map(quote).join(" or ");
    return say(
      "WRONG_VALUE",
      `${field} is ${quote(got)}: expected ${wanted}`,
      meant && `did you mean ${quote(meant)}?`,
    );
  },
  out_of_range: (field: string, got: unknown, wanted: string) =>
    say("OUT_OF_RANGE", `${field} is ${typeof got === "object" ? typeName(got) : quote(got)}: expected ${wanted}`),
  invalid_value: (field: string, got: unknown, cause: string) =>
    say("INVALID_VALUE", `${field} is ${typeof got === "object" ? typeName(got) : quote(got)}: ${cause}`),
  env_not_set: (name: string, field: string) =>
    say(
      "ENV_NOT_SET",
      `Environment variable ${name} is not set, and ${field} needs it`,
      `export ${name}=… before the run; write $\${${name}} for the literal text`,
    ),
  env_named_not_set: (name: string, field: string) =>
    say(
      "ENV_NOT_SET",
      `Environment variable ${name} is not set, and ${field} names it`,
      `export ${name}=… before the run`,
    ),
  path_not_found: (field: string, path: string, base_dir: string) =>
    say("PATH_NOT_FOUND", `${field} is ${quote(path)}: no such file or folder`, `paths are relative to ${base_dir}`),
  path_unreadable: (field: string, path: string, cause: string) =>
    say("PATH_UNREADABLE", `${field} is ${quote(path)}, which cannot be read: ${cause}`),
  path_not_folder: (field: string, path: string) =>
    say("PATH_NOT_FOLDER", `${field} is ${quote(path)}: it is a file, and a folder is expected`),
  servers_file: (path: string) =>
    say("SERVERS_FILE", `${quote(path)} declares no servers: expected a map under "mcpServers"`),
  duplicate_id: (id: string, other: number) =>
    say(
      "DUPLICATE_ID",
      `Stage id ${quote(id)} is taken by stages[${other}]: ids must be unique`,
      "change one of them",
    ),
  export_folder_taken: (id: string, taken: string[]) =>
    say(
      "EXPORT_FOLDER_TAKEN",
      `Stage id ${
        quote(id)
      } is reserved: an exporter's folder is named after its id, and the run itself uses that folder`,
      `use an id other than ${taken.join(", ")}`,
    ),
  exporter_listens: () =>
    say(
      "EXPORTER_LISTENS",
      "This exporter has an `on` handler, and exporters no longer receive events",
      'move `on` to a plugin with kind: "tracker", as a separate stage',
    ),
  stage_missing: (kind: string, why: string, uses: string[]) =>
    say(
      "STAGE_MISSING",
      `Missing stage: ${kind}. ${why}`,
      uses.length
        ? `add ${uses.slice(0, 3).map((use) => `"- use: ${use}"`).join(" or ")} to stages` +
          (uses.length > 3 ? `; \`hone list ${kind}\` shows all` : "")
        : undefined,
    ),
  stage_twice: (kind: string, first: number) =>
    say("STAGE_TWICE", `Only one ${kind} is allowed; stages[${first}] already is one`, "remove one of the two"),
  ladder_order: (ladder: string[]) =>
    say("LADDER_ORDER", `ladder is ${quote(ladder)}: expected any of ["prompt","warm_start","rl"], in this order`),
  ladder_without_trainer: (rung: string) =>
    say(
      "TRAINER_MISSING",
      `ladder has ${quote(rung)}, but the pipeline has no trainer`,
      'add "- use: trainer/mlx" or "- use: trainer/lightning" to stages, or remove ladder',
    ),
  model_missing: () =>
    say(
      "MODEL_MISSING",
      "model is missing: the trainer needs one",
      'add "model: smollm2-135m", a Hugging Face id or a folder',
    ),
  no_policy: () =>
    say(
      "NO_POLICY",
      "No policy: expected a trainer stage with a model, or agent.endpoint",
      'add "- use: trainer/mlx" or "- use: trainer/lightning" to stages and "model:", or agent: { endpoint: { base_url, model } }',
    ),
  policy_unreachable: (policy: string, rungs: string) =>
    say("POLICY_UNREACHABLE", `evaluate.policies has ${quote(policy)}, but ladder has no ${rungs} rung to produce it`),
  policy_unknown: (policy: string, own: string[], models: string[]) => {
    const meant = nearest(policy, [...own, ...models]);
    return say(
      "POLICY_UNKNOWN",
      `evaluate.policies has ${quote(policy)}: expected ${own.join(", ")}, or a model of evaluate.models (${
        models.join(", ") || "there is none"
      })`,
      meant && `did you mean ${quote(meant)}?`,
    );
  },
  suite_servers: (name: string) =>
    say(
      "SUITE_SERVERS",
      `evaluate.suites.${name} has servers, and its path is a pipeline file, which has its own`,
      "remove them, or name a file of scenarios",
    ),
  policy_twice: (policy: string) => say("POLICY_TWICE", `evaluate.policies has ${quote(policy)} more than once`),
  policy_name_taken: (name: string) =>
    say(
      "POLICY_NAME_TAKEN",
      `evaluate.models has ${quote(name)}, which is the name of a policy that hone makes itself`,
      "give the model another name",
    ),
  servers_missing: () =>
    say("SERVERS_MISSING", "servers is missing: the discoverer needs at least one server", "declare one under servers"),
  shared_workdir: (server: string) =>
    say(
      "SHARED_WORKDIR",
      `servers.${server} uses \${workdir}, which isolation: shared does not have`,
      "use isolation: process",
    ),
  fixture_of_url: (server: string) =>
    say(
      "FIXTURE_OF_URL",
      `servers.${server} has a fixture, but a server with a url has no folder that it could be copied to`,
      "remove it; set the server's state up with setup.calls of the scenarios",
    ),
  container_missing: (server: string) =>
    say(
      "CONTAINER_MISSING",
      `servers.${server} has isolation: container but no container settings`,
      "add container: { image: … }, with the server's program in the image",
    ),
  container_unused: (server: string) =>
    say(
      "CONTAINER_UNUSED",
      `servers.${server} has container settings, but its isolation is not container`,
      "use isolation: container",
    ),
  exporter_without_trainer: () =>
    say(
      "EXPORTER_WITHOUT_TRAINER",
      "An exporter has nothing to export: the pipeline has no trainer",
      'add "- use: trainer/mlx" or "- use: trainer/lightning" to stages, or remove the exporter',
    ),
  no_decisive_judge: (ids: string[]) =>
    say(
      "NO_DECISIVE_JUDGE",
      `No decisive judge, so nothing decides success: ${ids.map(quote).join(", ")} only scores`,
      "add judge/state, judge/calls or judge/answer",
    ),
  weight_without_judge: (name: string, judge: string, ids: string[]) => {
    const meant = nearest(judge, ids);
    return say(
      "UNKNOWN_JUDGE",
      `The reward uses ${quote(name)}, but no judge has the id ${quote(judge)}${
        meant ? `: did you mean ${quote(meant)}?` : ""
      }`,
      meant ? undefined : `judges: ${ids.join(", ") || "none"}`,
    );
  },
  weight_without_part: (name: string, judge: string, part: string, parts: readonly string[]) => {
    const meant = nearest(part, parts);
    return say(
      "UNKNOWN_SCORE_PART",
      `The reward uses ${quote(name)}, but the scores of judge ${quote(judge)} have no part ${quote(part)}${
        meant ? `: did you mean ${quote(meant)}?` : ""
      }`,
      meant
        ? undefined
        : parts.length > 0
        ? `parts: ${parts.join(", ")}`
        : `use ${quote(judge)} alone: its scores have no parts`,
    );
  },
  judge_relative_decisive: (id: string) =>
    say(
      "JUDGE_RELATIVE_DECISIVE",
      `Judge ${quote(id)} is both relative and decisive: relative scores are comparable only within a group`,
      "a decisive judge must be absolute: set decisive to false, or use another judge",
    ),
  timeout_of_judges: (use: string, kind: string) =>
    say("TIMEOUT_OF_JUDGES", `timeout_secs applies only to judges, and ${quote(use)} is a ${kind}`, "remove it"),
  no_grader: (ids: string[]) =>
    say(
      "NO_GRADER",
      `The trainer is hosted, but no judge provides a grader: ${ids.map(quote).join(", ")}`,
      "add a judge that implements toGrader",
    ),
  online_only: (field: string) =>
    say(
      "ONLINE_ONLY",
      `${field} is not allowed with a hosted trainer`,
      `remove ${field}; the job's settings belong in the trainer's with:`,
    ),
  override_unknown: (path: string, word: string, names: string[], shown: string[]) => {
    const meant = nearest(word, names);
    return say(
      "OVERRIDE_UNKNOWN",
      `Cannot set ${quote(path)}: no such stage${meant ? `: did you mean ${quote(meant)}?` : ""}`,
      meant ? undefined : `stages: ${shown.join(", ")}; or their index, from 0`,
    );
  },
  override_blocked: (path: string, field: string, got: unknown) =>
    say(
      "OVERRIDE_BLOCKED",
      `Cannot set ${quote(path)}: ${field} is ${
        typeof got === "object" ? typeName(got) : quote(got)
      }, which has no such field`,
    ),
  override_ambiguous: (path: string, word: string, found: [index: number, use: string][]) =>
    say(
      "OVERRIDE_AMBIGUOUS",
      `Cannot set ${quote(path)}: ${quote(word)} is ambiguous: ${
        found.map(([index, use]) => `stages[${index}] (${use})`).join(" or ")
      }`,
      `use the index, as in stages.${found[0]![0]}`,
    ),
};

/** Problems of plugins, found when a pipeline is loaded. */
export const loader = {
  unknown_plugin: (use: string, known: string[]) => {
    const meant = nearest(use, known);
    return say(
      "UNKNOWN_PLUGIN",
      `Unknown plugin ${quote(use)}${meant ? `: did you mean ${quote(meant)}?` : ""}`,
      meant ? undefined : "hone list shows the built-in plugins; a path starts with ./",
    );
  },
  plugin_not_found: (use: string, tried: string) =>
    say("PLUGIN_NOT_FOUND", `Cannot load plugin ${quote(use)}: no file at ${tried}`),
  plugin_broken: (use: string, cause: string, hint?: string) =>
    say("PLUGIN_BROKEN", `Cannot load plugin ${quote(use)}: ${cause}`, hint),
  no_default_export: (use: string) =>
    say(
      "NO_DEFAULT_EXPORT",
      `Cannot load plugin ${quote(use)}: the module has no default export`,
      "end it with: export default plugin",
    ),
  not_a_plugin: (use: string, cause: string) =>
    say(
      "NOT_A_PLUGIN",
      `Cannot use ${quote(use)} as a plugin: ${cause}`,
      "a plugin is { kind, name, summary, config, examples, create }; see definePlugin",
    ),
  unknown_kind: (use: string, kind: unknown, kinds: readonly string[]) => {
    const meant = typeof kind === "string" ? nearest(kind, kinds) : undefined;
    return say(
      "UNKNOWN_KIND",
      `Cannot use plugin ${quote(use)}: its kind is ${quote(kind)}, expected one of ${kinds.join(", ")}`,
      meant && `did you mean ${quote(meant)}?`,
    );
  },
  wrong_kind: (use: string, kind: string, wanted: string) =>
    say("WRONG_KIND", `Cannot use plugin ${quote(use)}: it is a ${kind}, expected a ${wanted}`),
  npm_unpinned: (use: string) =>
    say(
      "NPM_UNPINNED",
      `Cannot load plugin ${quote(use)}: the version is not pinned`,
      `write npm:package@1.2.3, so that the run is reproducible`,
    ),
  remote_refused: (use: string) =>
    say(
      "REMOTE_REFUSED",
      `Cannot load plugin ${quote(use)}: hone does not run code directly from a URL`,
      "use a path, npm:package@version, or exec: a program",
    ),
  exec_failed: (use: string, cause: string) =>
    say(
      "EXEC_FAILED",
      `Cannot use program ${quote(use)} as a plugin: ${cause}`,
      'it answers {"id":0,"method":"hello"} with {"id":0,"result":{"kind","name","summary","config"}}, one JSON object per line',
    ),
  exec_kind: (use: string, kind: string, kinds: string[]) =>
    say("EXEC_KIND", `Cannot use program ${quote(use)} as a ${kind}: a program can be a ${kinds.join(", ")}`),
};

/** Problems of scenario files. `which` is an id or a place such as `[3]`. */
export const scenarios = {
  file_unreadable: (path: string, cause: string) =>
    say("SCENARIOS_UNREADABLE", `Cannot read scenarios ${quote(path)}: ${cause}`),
  file_unknown: (path: string) =>
    say("SCENARIOS_FORMAT", `Cannot read scenarios ${quote(path)}: expected a .yaml, .yml, .json, .jsonl or .csv file`),
  not_a_list: (got: unknown) =>
    say(
      "SCENARIOS_NOT_A_LIST",
      `Scenarios are ${typeName(got)}: expected a list of scenarios`,
      '[{ "task": "…" }] is enough',
    ),
  none: (path: string) => say("SCENARIOS_EMPTY", `${quote(path)} has no scenarios: expected at least one`),
  json_syntax: (cause: string) => say("SCENARIOS_SYNTAX", `Cannot read the JSON: ${cause}`),
  csv_syntax: (cause: string) => say("SCENARIOS_SYNTAX", `Cannot read the CSV: ${cause}`),
  csv_cells: (got: number, wanted: number) =>
    say(
      "CSV_CELLS",
      `The row has ${got} cells: expected at most ${wanted}, as many as the header`,
      "put a cell with a comma in quotes",
    ),
  csv_unnamed: (column: number) => say("CSV_HEADER", `Column ${column} has no name: expected the name of a field`),
  csv_twice: (name: string) => say("CSV_HEADER", `Two columns have the name ${quote(name)}: expected one`),
  csv_within: (name: string, whole: string) =>
    say("CSV_HEADER", `Column ${quote(name)} is a part of column ${quote(whole)}: expected one of them`),
  csv_json: (column: string, cause: string) =>
    say(
      "SCENARIOS_SYNTAX",
      `Cannot read column ${quote(column)} as JSON: ${cause}`,
      'a list or a map is written as JSON, in quotes that double the inner ones: "[{""file"": ""a.txt""}]"',
    ),
  without_task: (which: string) =>
    say("SCENARIO_WITHOUT_TASK", `Scenario ${which} has no task: expected the prompt for the agent`),
  not_a_scenario: (which: string, got: unknown) =>
    say(
      "NOT_A_SCENARIO",
      `Scenario ${which} is ${typeName(got)}: expected a map of fields`,
      '{ "task": "…" } is enough',
    ),
  duplicate: (id: string, place: string) =>
    say("DUPLICATE_SCENARIO", `Scenario id ${quote(id)} is taken by ${place}: ids must be unique`),
  unjudged: (which: string, has: string[], wanted: string[]) =>
    say(
      "SCENARIO_UNJUDGED",
      `Scenario ${which} has no success criterion: expected ${wanted.join(" or ")}`,
      has.length ? `it has ${has.join(" and ")}, which no decisive judge reads` : undefined,
    ),
  without_folder: (id: string, place: string) =>
    say(
      "SCENARIO_WITHOUT_FOLDER",
      `Scenario ${quote(id)} needs a folder of the rollout's own (${place}), and no server of this pipeline has one`,
      "a server has one if it has `command` and its isolation is not shared; otherwise set the state up with `setup.calls` and check it with `call`",
    ),
  call_refused: (id: string, place: string, tool: string, server: string) =>
    say(
      "SCENARIO_CALL_REFUSED",
      `Scenario ${quote(id)} needs a call of ${quote(tool)} (${place}), which would be denied: server ${
        quote(server)
      } is shared by all rollouts`,
      `if the tool is read-only, list it in servers.${server}.read_only_tools; otherwise set allow_writes: true there`,
    ),
  unknown_tool: (id: string, field: string, tool: string, known: string[]) => {
    const meant = nearest(tool, known);
    return say(
      "SCENARIO_UNKNOWN_TOOL",
      `Scenario ${quote(id)} names tool ${quote(tool)} in ${field}, which no server has${
        meant ? `: did you mean ${quote(meant)}?` : ""
      }`,
      meant
        ? undefined
        : `tools: ${
          known.join(", ") || "none"
        }; those that a server's \`tools\` or \`deny\` leaves out are not among them`,
    );
  },
};
