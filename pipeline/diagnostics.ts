/**
 * Every message that hone shows to a person, one code each, sorted by area; and the error that carries them.
 * A message says what could not be done, quotes the value, and says what is wanted; the hint says what to do next.
 *
 * How to add one: put a function into your area's object, named as the code in lower case, and return
 * `say("CODE", message, hint?)`. Throw it with `throw new HoneError(area.code(…))`. Tests assert the whole message.
 * @module
 */
export { codeFrame, place, render } from "./render.ts";

/** One problem. `line` and `col` are 1-based; `frame` is ready to print. */
export interface Diagnostic {
  code: string;
  message: string;
  hint?: string;
  file?: string;
  line?: number;
  col?: number;
  frame?: string;
}

/** An error that a person can act on: `code` and `hint` of its first diagnostic, and all of them. */
export class HoneError extends Error {
  override name = "HoneError";
  readonly code: string;
  readonly hint?: string;
  readonly diagnostics: Diagnostic[];

  constructor(diagnostics: Diagnostic | Diagnostic[], options?: ErrorOptions) {
    const all = Array.isArray(diagnostics) ? diagnostics : [diagnostics];
    super(all.map((d) => d.message).join("\n"), options);
    this.code = all[0]?.code ?? "UNKNOWN";
    this.hint = all[0]?.hint;
    this.diagnostics = all;
  }
}

/** Builds a diagnostic; leaves the hint out where there is none. */
function say(code: string, message: string, hint?: string): Diagnostic {
  return hint === undefined ? { code, message } : { code, message, hint };
}

/** Quotes a value for a message; long ones are cut. */
export function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? text.slice(0, 77) + "…" : text;
}

/** A value's type as YAML people say it. */
export function typeName(value: unknown): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  return {
    object: "a map",
    string: "a string",
    number: "a number",
    boolean: "true or false",
  }[typeof value as "object"] ??
    typeof value;
}

/** The candidate that a misspelt word most likely meant, or undefined. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let limit = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const far = distance(word.toLowerCase(), candidate.toLowerCase());
    if (far < limit) [best, limit] = [candidate, far];
  }
  return best;
}

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}

// ── Area: config ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Problems of a pipeline file, found before anything runs. `field` is a path such as `stages[2].with.weights`. */
export const config = {
  file_not_found: (path: string) => say("FILE_NOT_FOUND", `Cannot read pipeline ${quote(path)}: no such file`),
  file_unreadable: (path: string, cause: string) => say("FILE_UNREADABLE", `Cannot read ${quote(path)}: ${cause}`),
  empty_file: () =>
    say("EMPTY_FILE", "The file is empty: a pipeline needs at least name and stages", "start from examples/files"),
  not_a_map: (got: unknown) => say("NOT_A_MAP", `A pipeline is a map of fields, not ${typeName(got)}`),
  yaml_syntax: (cause: string) => say("YAML_SYNTAX", `Cannot read the YAML: ${cause}`),
  unknown_field: (key: string, parent: string, fields: string[]) => {
    const meant = nearest(key, fields);
    const here = fields.length ? `fields here: ${fields.join(", ")}` : undefined;
    return say(
      "UNKNOWN_FIELD",
      `Unknown field ${quote(key)}${parent ? ` in ${parent}` : ""}${meant ? `: did you mean ${quote(meant)}?` : ""}`,
      meant ? undefined : here,
    );
  },
  missing_field: (field: string, wanted: string) => say("MISSING_FIELD", `${field} is missing: wanted ${wanted}`),
  wrong_type: (field: string, got: unknown, wanted: string) =>
    say(
      "WRONG_TYPE",
      `${field} is ${typeof got === "object" ? typeName(got) : quote(got)}: wanted ${wanted}`,
      got === null ? "leave the field out to have its default" : undefined,
    ),
  wrong_value: (field: string, got: unknown, values: unknown[]) => {
    const meant = typeof got === "string" ? nearest(got, values.map(String)) : undefined;
    const wanted = values.map(quote).join(" or ");
    return say("WRONG_VALUE", `${field} is ${quote(got)}: wanted ${wanted}`, meant && `did you mean ${quote(meant)}?`);
  },
  out_of_range: (field: string, got: unknown, wanted: string) =>
    say("OUT_OF_RANGE", `${field} is ${typeof got === "object" ? typeName(got) : quote(got)}: wanted ${wanted}`),
  invalid_value: (field: string, got: unknown, cause: string) =>
    say("INVALID_VALUE", `${field} is ${typeof got === "object" ? typeName(got) : quote(got)}: ${cause}`),
  env_not_set: (name: string, field: string) =>
    say(
      "ENV_NOT_SET",
      `Environment variable ${name} is not set, and ${field} needs it`,
      `export ${name}=… before the run; write $\${${name}} for the text itself`,
    ),
  env_named_not_set: (name: string, field: string) =>
    say(
      "ENV_NOT_SET",
      `Environment variable ${name} is not set, and ${field} names it`,
      `export ${name}=… before the run`,
    ),
  path_not_found: (field: string, path: string, base_dir: string) =>
    say("PATH_NOT_FOUND", `${field} is ${quote(path)}: no such file or folder`, `paths are relative to ${base_dir}`),
  servers_file: (path: string) =>
    say("SERVERS_FILE", `${quote(path)} declares no servers: wanted a map under "mcpServers"`),
  duplicate_id: (id: string, other: number) =>
    say(
      "DUPLICATE_ID",
      `Stage id ${quote(id)} is taken by stages[${other}]: ids are unique`,
      "give one of them another id",
    ),
  stage_missing: (kind: string, why: string, uses: string[]) =>
    say(
      "STAGE_MISSING",
      `No stage is a ${kind}: ${why}`,
      uses.length ? `add ${uses.map((use) => `"- use: ${use}"`).join(" or ")} to stages` : undefined,
    ),
  stage_twice: (kind: string, first: number) =>
    say("STAGE_TWICE", `A pipeline has one ${kind}, and stages[${first}] is one already`, "remove one of the two"),
  ladder_order: (ladder: string[]) =>
    say("LADDER_ORDER", `ladder is ${quote(ladder)}: wanted a part of ["prompt","warm_start","rl"] in this order`),
  ladder_without_trainer: (rung: string) =>
    say(
      "TRAINER_MISSING",
      `ladder has ${quote(rung)}, and no stage is a trainer`,
      'add "- use: trainer/mlx" to stages, or leave ladder out',
    ),
  model_missing: () =>
    say("MODEL_MISSING", "model is missing: the trainer needs one", 'add "model: smollm2-135m", a hub id or a folder'),
  no_policy: () =>
    say(
      "NO_POLICY",
      "Nothing can play the agent: wanted a trainer stage with a model, or agent.endpoint",
      'add "- use: trainer/mlx" to stages and "model:", or agent: { endpoint: { base_url, model } }',
    ),
  policy_unreachable: (policy: string, rungs: string) =>
    say("POLICY_UNREACHABLE", `evaluate.policies has ${quote(policy)}, and ladder has no ${rungs} rung to make it`),
  servers_missing: () =>
    say("SERVERS_MISSING", "servers is missing: the discoverer has nothing to discover", "declare one under servers"),
  shared_workdir: (server: string) =>
    say(
      "SHARED_WORKDIR",
      `servers.${server} uses \${workdir}, and isolation: shared has none`,
      "use isolation: process",
    ),
  exporter_without_trainer: () =>
    say(
      "EXPORTER_WITHOUT_TRAINER",
      "An exporter has nothing to export: no stage is a trainer",
      'add "- use: trainer/mlx" to stages, or remove the exporter',
    ),
  no_decisive_judge: (ids: string[]) =>
    say(
      "NO_DECISIVE_JUDGE",
      `No judge says what success is: ${ids.map(quote).join(", ")} only scores`,
      "add judge/state, judge/calls or judge/answer",
    ),
  override_unknown: (path: string) =>
    say("OVERRIDE_UNKNOWN", `Cannot set ${quote(path)}: no stage has this id or number`),
};

// ── Area: loader ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Problems of plugins, found when a pipeline is read. */
export const loader = {
  unknown_plugin: (use: string, known: string[]) => {
    const meant = nearest(use, known);
    return say(
      "UNKNOWN_PLUGIN",
      `Unknown plugin ${quote(use)}${meant ? `: did you mean ${quote(meant)}?` : ""}`,
      meant ? undefined : "hone list shows the built-in ones; a path starts with ./",
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
      `Cannot use plugin ${quote(use)}: its kind is ${quote(kind)}, wanted one of ${kinds.join(", ")}`,
      meant && `did you mean ${quote(meant)}?`,
    );
  },
  wrong_kind: (use: string, kind: string, wanted: string) =>
    say("WRONG_KIND", `Cannot use plugin ${quote(use)}: it is a ${kind}, wanted a ${wanted}`),
  npm_unpinned: (use: string) =>
    say(
      "NPM_UNPINNED",
      `Cannot load plugin ${quote(use)}: the version is not pinned`,
      `write npm:package@1.2.3, so that a run can be repeated`,
    ),
  remote_refused: (use: string) =>
    say(
      "REMOTE_REFUSED",
      `Cannot load plugin ${quote(use)}: hone does not run code straight from an address`,
      "use a path, npm:package@version, or exec: a program",
    ),
  exec_failed: (use: string, cause: string) =>
    say(
      "EXEC_FAILED",
      `Cannot use program ${quote(use)} as a plugin: ${cause}`,
      'it answers {"id":0,"method":"hello"} with {"id":0,"result":{"kind","name","summary","config"}}, one JSON object a line',
    ),
  exec_kind: (use: string, kind: string, kinds: string[]) =>
    say("EXEC_KIND", `Cannot use program ${quote(use)} as a ${kind}: a program can be a ${kinds.join(", ")}`),
};

// ── Area: mcp ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Servers that cannot be started, reached or used. `tail` is the last that the server wrote to stderr. */
export const mcp = {
  command_not_found: (command: string, cwd: string) =>
    say(
      "COMMAND_NOT_FOUND",
      `Cannot start ${quote(command)}: no such program on PATH (or no folder ${quote(cwd)})`,
      "install it, or write its full path in command:",
    ),
  command_failed: (command: string, cause: string) => say("COMMAND_FAILED", `Cannot start ${quote(command)}: ${cause}`),
  start_failed: (server: string, cause: string, tail: string) =>
    say("SERVER_START_FAILED", `Server ${quote(server)} cannot be used: ${cause}${after(tail)}`),
  start_timeout: (server: string, secs: number, tail: string) =>
    say(
      "SERVER_START_TIMEOUT",
      `Server ${quote(server)} did not answer within ${secs} s of its start${after(tail)}`,
      `raise servers.${server}.start_timeout_secs if it is only slow`,
    ),
  http_status: (server: string, url: string, status: number, cause: string) =>
    say(
      "SERVER_HTTP_STATUS",
      `Server ${quote(server)} at ${url} answered HTTP ${status}: ${cause}`,
      status === 401 || status === 403
        ? `set bearer_env or headers of servers.${server}`
        : status === 404
        ? "check the path of the url"
        : undefined,
    ),
  unreachable: (server: string, url: string, cause: string) =>
    say("SERVER_UNREACHABLE", `Server ${quote(server)} at ${url} cannot be reached: ${cause}`),
  list_failed: (server: string, what: string, cause: string) =>
    say("SERVER_LIST_FAILED", `Server ${quote(server)} cannot list its ${what}: ${cause}`),
  tools_missing: (server: string, missing: string[], offered: string[]) =>
    say(
      "TOOLS_MISSING",
      `Server ${quote(server)} does not offer ${missing.map(quote).join(", ")}, which servers.${server} names`,
      `it offers ${offered.join(", ") || "no tools"}`,
    ),
  setup_failed: (tool: string, outcome: string, text: string) =>
    say("SETUP_FAILED", `Setup call ${quote(tool)} of the scenario failed (${outcome}): ${text}`),
  no_server_named: () =>
    say(
      "NO_SERVER",
      "No server is named",
      "name a command after --, a URL, or --config mcp.json; or set MCP_URL",
    ),
  bad_server: (server: string, cause: string) =>
    say("BAD_SERVER", `Server ${quote(server)} is not declared as a server can be: ${cause}`),
  unknown_server: (server: string, servers: string[]) => {
    const meant = nearest(server, servers);
    return say(
      "UNKNOWN_SERVER",
      `No server ${quote(server)}: there are ${servers.join(", ") || "none"}`,
      meant && `did you mean ${quote(meant)}?`,
    );
  },
  which_server: (servers: string[]) =>
    say("WHICH_SERVER", `Several servers are declared: name one of ${servers.join(", ")}`),
  unknown_tool: (tool: string, server: string, tools: string[]) => {
    const meant = nearest(tool, tools);
    return say(
      "UNKNOWN_TOOL",
      `Server ${quote(server)} has no tool ${quote(tool)}`,
      meant ? `did you mean ${quote(meant)}?` : `it has ${tools.join(", ") || "none"}`,
    );
  },
  bad_header: (header: string) => say("BAD_HEADER", `Header ${quote(header)} cannot be read: wanted "Name: value"`),
  bad_input: (input: string, cause: string) =>
    say("BAD_INPUT", `Input ${quote(input)} is not a JSON object: ${cause}`, `for example '{"path": "."}'`),
  outside_workdir: (path: string) =>
    say("OUTSIDE_WORKDIR", `Setup file ${quote(path)} is outside the rollout's own folder: wanted a path below it`),
};

function after(tail: string): string {
  return tail ? `. It wrote:\n${tail}` : "";
}

// ── Area: chat ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Problems of endpoints that serve a policy. */
export const chat = {
  endpoint_unreachable: (url: string, cause: string) =>
    say(
      "ENDPOINT_UNREACHABLE",
      `Cannot reach the model at ${url}: ${cause}`,
      "is the server running, and the address right?",
    ),
  endpoint_refused: (url: string, status: number, reason: string) =>
    say(
      "ENDPOINT_REFUSED",
      `The model at ${url} answered ${status}: ${reason}`,
      status === 401 || status === 403 ? "set the variable that agent.endpoint.api_key_env names" : undefined,
    ),
  endpoint_unreadable: (url: string, body: string) =>
    say("ENDPOINT_UNREADABLE", `The model at ${url} answered ${quote(body)}: wanted an OpenAI chat completion`),
};

// ── Area: scenarios ──────────────────────────────────────────────────────────────────────────────────────────────────

/** Problems of scenario files. `which` is an id or a place such as `[3]`. */
export const scenarios = {
  file_unreadable: (path: string, cause: string) =>
    say("SCENARIOS_UNREADABLE", `Cannot read scenarios ${quote(path)}: ${cause}`),
  file_unknown: (path: string) =>
    say("SCENARIOS_FORMAT", `Cannot read scenarios ${quote(path)}: wanted a .yaml, .yml, .json or .jsonl file`),
  not_a_list: (got: unknown) =>
    say(
      "SCENARIOS_NOT_A_LIST",
      `Scenarios are ${typeName(got)}: wanted a list of scenarios`,
      '[{ "task": "…" }] is enough',
    ),
  none: (path: string) => say("SCENARIOS_EMPTY", `${quote(path)} has no scenarios: wanted at least one`),
  json_syntax: (cause: string) => say("SCENARIOS_SYNTAX", `Cannot read the JSON: ${cause}`),
  without_task: (which: string) =>
    say("SCENARIO_WITHOUT_TASK", `Scenario ${which} has no task: wanted the words that the agent is given`),
  not_a_scenario: (which: string, got: unknown) =>
    say("NOT_A_SCENARIO", `Scenario ${which} is ${typeName(got)}: wanted a map of fields`, '{ "task": "…" } is enough'),
  duplicate: (id: string, place: string) =>
    say("DUPLICATE_SCENARIO", `Scenario id ${quote(id)} is taken by ${place}: ids are unique`),
  unknown_tool: (id: string, field: string, tool: string, known: string[]) => {
    const meant = nearest(tool, known);
    return say(
      "SCENARIO_UNKNOWN_TOOL",
      `Scenario ${quote(id)} names tool ${quote(tool)} in ${field}, and no server has it${
        meant ? `: did you mean ${quote(meant)}?` : ""
      }`,
      meant ? undefined : `tools: ${known.join(", ") || "none"}`,
    );
  },
};

// ── Area: store ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** Problems of a run's database file. */
export const store = {
  busy: (path: string) =>
    say(
      "RUN_BUSY",
      `Cannot open ${quote(path)}: another process is writing it`,
      "Wait for the run to end, or ask it: `hone query`, `hone watch`, `hone cancel`.",
    ),
  exists: (path: string) =>
    say(
      "RUN_EXISTS",
      `Cannot create ${quote(path)}: it holds the records of a run`,
      "`hone resume` continues it; or choose another folder (`--run-dir`).",
    ),
  missing: (path: string) =>
    say("RUN_MISSING", `Cannot open ${quote(path)}: no such file`, "Name a folder below runs/."),
  cannot_open: (path: string, reason: string) =>
    say("STORE_UNREADABLE", `Cannot open ${quote(path)}: ${reason}`, "Is this the folder of a run?"),
  not_a_run: (path: string) =>
    say("NOT_A_RUN", `Cannot read ${quote(path)}: it is not a run's database`, "Name a folder below runs/."),
  newer: (path: string, found: number, known: number) =>
    say(
      "RUN_NEWER",
      `Cannot read ${quote(path)}: it was written by a newer hone (schema ${found}, this one knows ${known})`,
      "Update hone, or start a new run.",
    ),
  write_failed: (path: string, reason: string) =>
    say(
      "STORE_WRITE_FAILED",
      `Cannot record the run in ${quote(path)}: ${reason}`,
      "Free disk space, then `hone resume`: everything acknowledged before is kept.",
    ),
};

// ── Area: control ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Reaching a run from another process. */
export const control = {
  run_locked: (run_dir: string, pid: number) =>
    say(
      "RUN_LOCKED",
      `Cannot run in ${quote(run_dir)}: process ${pid} works on this run`,
      "Wait for it, end it (`hone cancel`), or choose another folder (`--run-dir`).",
    ),
  run_starting: (run_dir: string) =>
    say("RUN_STARTING", `Cannot ask the run in ${quote(run_dir)}: it is just starting`, "Try again in a moment."),
  run_not_live: (run_dir: string) =>
    say(
      "RUN_NOT_LIVE",
      `Cannot reach the run in ${quote(run_dir)}: no process works on it`,
      "`hone resume` continues it.",
    ),
  no_such_run: (word: string, runs_dir: string, known: string[]) =>
    say(
      "NO_SUCH_RUN",
      `Cannot find run ${quote(word)} in ${quote(runs_dir)}`,
      known.length
        ? `There ${known.length === 1 ? "is" : "are"}: ${known.slice(0, 8).join(", ")}${known.length > 8 ? ", …" : ""}.`
        : "There is no run yet: `hone run pipeline.yaml` makes one.",
    ),
  not_a_select: (sql: string) =>
    say(
      "NOT_A_QUERY",
      `Cannot run ${quote(sql)}: only queries that read are allowed`,
      "Begin with SELECT, FROM, WITH, DESCRIBE, SHOW or SUMMARIZE.",
    ),
  query_failed: (sql: string, reason: string) =>
    say("QUERY_FAILED", `Cannot run ${quote(sql)}: ${reason}`, '`hone query <run> "show tables"` lists what there is.'),
};

// ── Area: worker ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** The Python worker behind a local trainer, and its environment. */
export const worker = {
  no_python: (wanted: string, found: string[]) =>
    say(
      "NO_PYTHON",
      `Cannot make the worker's environment: no Python ${wanted} or newer was found${
        found.length ? ` (found ${found.join(", ")})` : ""
      }`,
      "Install Python from your system's packages, or uv, or set `python:` in the trainer's `with:`.",
    ),
  no_venv: (python: string, reason: string) =>
    say(
      "NO_VENV",
      `Cannot make a virtual environment with ${quote(python)}: ${reason}`,
      "On Debian and Ubuntu: `apt install python3-venv`; or install uv.",
    ),
  no_network: (reason: string) =>
    say(
      "NO_NETWORK",
      `Cannot install the worker's packages: the package index cannot be reached (${reason})`,
      "The first use of a local trainer downloads about 250 MB from PyPI; connect once, or set your index in pip's own configuration.",
    ),
  no_space: (dir: string, reason: string) =>
    say(
      "NO_SPACE",
      `Cannot write to ${quote(dir)}: no space is left (${reason})`,
      "About 2 GB are needed; set HONE_CACHE_DIR to a folder with more room.",
    ),
  install_failed: (reason: string) =>
    say(
      "WORKER_INSTALL_FAILED",
      `Cannot install the worker's packages: ${reason}`,
      "`hone doctor` shows what this machine has.",
    ),
  died: (during: string, reason: string) =>
    say(
      "WORKER_DIED",
      `Cannot finish ${quote(during)}: the worker process is gone (${reason})`,
      "Nothing acknowledged is lost: `hone resume` continues from the last step.",
    ),
  timeout: (method: string, secs: number) =>
    say(
      "WORKER_TIMEOUT",
      `Cannot finish ${quote(method)}: the worker did not answer within ${secs} s`,
      "`run.log` has what it last said.",
    ),
  refused: (method: string, code: string, message: string, hint?: string) =>
    say(code, `Cannot ${WORKER_DUTIES[method] ?? method}: ${message}`, hint),
};

/** What the worker's methods do, in words. */
const WORKER_DUTIES: Record<string, string> = {
  hello: "start the worker",
  init: "open the model",
  serve: "serve the model",
  demonstrate: "read the demonstrations",
  supervise: "take a supervised step",
  train_step: "take a training step",
  publish: "serve the new policy",
  save: "save a checkpoint",
  export: "export the adapter",
};

// ── Area: cli ────────────────────────────────────────────────────────────────────────────────────────────────────────

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
    say("UNEXPECTED", error.stack ?? error.message, "This looks like a fault of hone: run.log has the details."),
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

// ── Area: runner ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** What ends a run, or refuses to start it, once the pipeline file is sound. */
export const runner = {
  no_scenarios: (split: string, wanted: string) =>
    say(
      "NO_SCENARIOS",
      `Cannot ${wanted}: the scenario sources gave no scenario of split ${quote(split)}`,
      `Give at least one scenario with \`split: ${split}\`, or leave that part of the pipeline out.`,
    ),
  duplicate_scenario: (id: string) =>
    say(
      "DUPLICATE_SCENARIO",
      `Cannot use scenario ${quote(id)}: two scenarios have this id`,
      "Give every scenario an id of its own.",
    ),
  unknown_tool_in_scenario: (id: string, tool: string, near: string | undefined, known: string[]) =>
    say(
      "UNKNOWN_TOOL",
      `Cannot use scenario ${quote(id)}: it names the tool ${quote(tool)}, which no server of this pipeline has`,
      near
        ? `Did you mean ${quote(near)}?`
        : `Tools found: ${known.slice(0, 12).join(", ")}${known.length > 12 ? ", …" : ""}.`,
    ),
  rollout_cannot_demonstrate: (stage: string) =>
    say(
      "ROLLOUT_CANNOT_DEMONSTRATE",
      `Cannot warm-start: the rollout plugin of stage ${quote(stage)} has no \`demonstrate\``,
      "Use rollout/chat, or take `warm_start` out of `ladder`.",
    ),
  no_demonstration: (count: number, reason: string) =>
    say(
      "NO_DEMONSTRATION",
      `Cannot warm-start: none of ${count} reference solutions reached its goal on the real server (${reason})`,
      count === 0
        ? "Give training scenarios a `solution`, or take `warm_start` out of `ladder`."
        : 'Mend the solutions or the checks: `hone query latest "select * from judgements"` shows what the judges saw.',
    ),
  no_valid_reward: (step: number, cause: string) =>
    say(
      "NO_VALID_REWARD",
      `Cannot train on step ${step}: not one rollout has a valid reward (first cause: ${cause})`,
      '`hone query latest "select outcome_end, cause, count(*) from rollouts group by all"` shows what failed; then `hone resume`.',
    ),
  tokens_missing: (rollout: string) =>
    say(
      "TOKENS_MISSING",
      `Cannot train on rollout ${quote(rollout)}: the endpoint returned no token ids or logprobs`,
      "For vLLM: send `return_token_ids`, start it with `--logprobs-mode processed_logprobs`; or evaluate only (`ladder: [prompt]`).",
    ),
  trainer_lost: (reason: string) =>
    say(
      "TRAINER_LOST",
      `Cannot go on: the trainer is gone (${reason})`,
      "Nothing acknowledged is lost: `hone resume` continues from the last step.",
    ),
  stage_failed: (stage: string, use: string, reason: string, place: string | undefined) =>
    say(
      "STAGE_FAILED",
      `Stage ${quote(stage)} (${use}) failed: ${reason}`,
      place && `It was thrown at ${place}.`,
    ),
  nothing_to_evaluate: () =>
    say(
      "NOTHING_TO_RUN",
      "Cannot run: the pipeline has neither a trainer nor `agent.endpoint`",
      "Name a model and a trainer, or an endpoint to evaluate.",
    ),
};

// ── Area: verdict ────────────────────────────────────────────────────────────────────────────────────────────────────
