/** Messages about MCP servers and the endpoints of policies. @module */
import { nearest, quote, say, sizeOf } from "./diagnostic.ts";

/** Servers that cannot be started, reached or used. `tail` is the end of the server's stderr. */
export const mcp = {
  no_folder: (command: string, cwd: string) =>
    say("COMMAND_FAILED", `Cannot start ${quote(command)} in ${quote(cwd)}: no such folder`),
  command_not_found: (command: string) =>
    say(
      "COMMAND_NOT_FOUND",
      `Cannot start ${quote(command)}: no such program on PATH`,
      /^[\w.-]+:\d+(\/|$)/.test(command)
        ? `for a server over HTTP, write http://${command}`
        : "install it, or set its full path in command:",
    ),
  command_failed: (command: string, cause: string) => say("COMMAND_FAILED", `Cannot start ${quote(command)}: ${cause}`),
  no_container_engine: (server: string, problems: string[]) =>
    say(
      "NO_CONTAINER_ENGINE",
      `Server ${quote(server)} cannot run in a container: ${problems.join(", ")}`,
      `install or start one, or use isolation: process for servers.${server}`,
    ),
  start_failed: (server: string, cause: string, tail: string, image?: string) =>
    say(
      "SERVER_START_FAILED",
      `Server ${quote(server)} failed to start: ${cause}${after(tail)}`,
      VARIABLE.test(tail)
        ? `a server inherits few environment variables: set those that it needs in servers.${server}.env (or with --env NAME)`
        : image &&
          `check that the image ${
            quote(image)
          } is on this machine and contains the program: hone does not pull or build images`,
    ),
  start_timeout: (server: string, secs: number, tail: string) =>
    say(
      "SERVER_START_TIMEOUT",
      `Server ${quote(server)} did not answer within ${secs} s of starting${after(tail)}`,
      `if it is only slow, for example during a first download, raise servers.${server}.start_timeout_secs (or --start-timeout-secs)`,
    ),
  http_status: (server: string, url: string, status: number, cause: string, retry_after_secs?: number) =>
    say(
      "SERVER_HTTP_STATUS",
      `Server ${quote(server)} at ${url} answered HTTP ${status}${cause && `: ${cause}`}`,
      status === 401
        ? `set bearer_env, headers or auth of servers.${server}, or run hone login ${url}`
        : status === 403
        ? `the key of servers.${server} does not allow this: check bearer_env, headers or auth.scope`
        : status === 404 || status === 405
        ? "check the path of the URL"
        : status === 429 && retry_after_secs !== undefined
        ? `retry after ${retry_after_secs} s`
        : status < 400
        ? "set url to the address that it redirects to"
        : undefined,
    ),
  unreachable: (server: string, url: string, cause: string, hint?: string) =>
    say("SERVER_UNREACHABLE", `Server ${quote(server)} at ${url} cannot be reached: ${cause}`, hint),
  tls: (server: string, url: string, cause: string) =>
    say(
      "SERVER_TLS",
      `Server ${quote(server)} at ${url} cannot be trusted: ${cause}`,
      "for a private certificate, set DENO_CERT to its issuer's file; for plain HTTP, write http://",
    ),
  not_mcp: (server: string, url: string, content_type: string) =>
    say(
      "SERVER_NOT_MCP",
      `Server ${quote(server)} at ${url} answered ${content_type}, not MCP`,
      "check the path of the URL: most servers answer at /mcp or /sse",
    ),
  list_failed: (server: string, what: string, cause: string, tail: string) =>
    say("SERVER_LIST_FAILED", `Server ${quote(server)} cannot list its ${what}: ${cause}${after(tail)}`),
  tools_refused: (server: string, refused: string[], of: number) =>
    say(
      "TOOLS_REFUSED",
      `Server ${quote(server)} is shared by all rollouts: calls of ${
        refused.length === of ? `all ${of}` : `${refused.length} of its ${of}`
      } tools will be refused (${refused.slice(0, 3).join(", ")}${refused.length > 3 ? ", …" : ""})`,
      `list the read-only ones in servers.${server}.read_only_tools, or set allow_writes: true there`,
    ),
  tools_missing: (server: string, missing: string[], offered: string[]) =>
    say(
      "TOOLS_MISSING",
      `Server ${quote(server)} does not offer ${missing.map(quote).join(", ")}, which servers.${server} names`,
      `it offers ${offered.join(", ") || "no tools"}`,
    ),
  state_outside: (server: string, path: string) =>
    say(
      "STATE_OUTSIDE",
      `Server ${quote(server)} leaks state between rollouts: ${path}, which all of them share, changed during one`,
      keptApart(server),
    ),
  state_differs: (server: string, tool: string, before: string, now: string) =>
    say(
      "STATE_DIFFERS",
      `Server ${quote(server)} leaks state between rollouts: in a fresh environment ${tool} now answers ` +
        `${quote(now.slice(0, 200))}; before other rollouts ran it answered ${quote(before.slice(0, 200))}`,
      keptApart(server),
    ),
  setup_without_folder: () =>
    say(
      "SETUP_WITHOUT_FOLDER",
      "Cannot set up the scenario's files: no server of this pipeline gives a rollout a folder of its own",
      "use a server with command: and isolation: process, or set the state up with setup.calls",
    ),
  setup_failed: (tool: string, outcome: string, text: string) =>
    say("SETUP_FAILED", `Setup call ${quote(tool)} of the scenario failed (${outcome}): ${text}`),
  not_a_catalog: (path: string) =>
    say(
      "NOT_A_CATALOG",
      `Cannot compare with ${quote(path)}: it is not a catalog`,
      "`hone discover … --out catalog.json` writes one",
    ),
  no_server_named: () =>
    say(
      "NO_SERVER",
      "No server given",
      "give a command after --, a URL, or --config mcp.json; or set MCP_URL",
    ),
  bad_server: (server: string, cause: string) =>
    say("BAD_SERVER", `Declaration of server ${quote(server)} is invalid: ${cause}`),
  all_off: (path: string, servers: string[]) =>
    say(
      "SERVERS_ALL_OFF",
      `Every server in ${quote(path)} is disabled: ${servers.join(", ") || "it has none"}`,
      "name the one to use",
    ),
  unknown_server: (server: string, servers: string[]) => {
    const meant = nearest(server, servers);
    return say(
      "UNKNOWN_SERVER",
      `No server ${quote(server)}: declared are ${servers.join(", ") || "none"}`,
      meant && `did you mean ${quote(meant)}?`,
    );
  },
  which_server: (servers: string[]) =>
    say("WHICH_SERVER", `Several servers are declared: choose one of ${servers.join(", ")}`),
  unknown_tool: (tool: string, server: string, tools: string[]) => {
    const meant = nearest(tool, tools);
    return say(
      "UNKNOWN_TOOL",
      `Server ${quote(server)} has no tool ${quote(tool)}`,
      meant ? `did you mean ${quote(meant)}?` : `it has ${tools.join(", ") || "none"}`,
    );
  },
  bad_env: (variable: string) =>
    say(
      "BAD_ENV",
      `Variable ${quote(variable)} is invalid: expected NAME=value, or the NAME of a variable that is set`,
    ),
  bad_header: (header: string) => say("BAD_HEADER", `Header ${quote(header)} is invalid: expected "Name: value"`),
  bad_input: (input: string, cause: string) =>
    say("BAD_INPUT", `Input ${quote(input)} is not a JSON object: ${cause}`, `for example '{"path": "."}'`),
  outside_workdir: (path: string) =>
    say("OUTSIDE_WORKDIR", `Setup file ${quote(path)} is outside the rollout's own folder: expected a path below it`),
};

/** Text that looks like the name of an environment variable. */
const VARIABLE = /\b[A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9]\b/;

function keptApart(server: string): string {
  return `have it write below \${workdir}, with args: or env: of servers.${server} (for example ` +
    '`env: { MEMORY_FILE_PATH: "${workdir}/memory.jsonl" }`), or use isolation: container';
}

function after(tail: string): string {
  return tail ? `. Its stderr:\n${tail}` : "";
}

/** Problems of endpoints that serve a policy. */
export const chat = {
  endpoint_unreachable: (url: string, cause: string) =>
    say(
      "ENDPOINT_UNREACHABLE",
      `Cannot reach the model at ${url}: ${cause}`,
      "check that the server is running and that the address is right",
    ),
  endpoint_refused: (url: string, status: number, reason: string) =>
    say(
      "ENDPOINT_REFUSED",
      `The model at ${url} answered ${status}: ${reason}`,
      status === 401 || status === 403 ? "set the variable that agent.endpoint.api_key_env names" : undefined,
    ),
  endpoint_without_tokens: (url: string, missing: string[]) =>
    say(
      "ENDPOINT_WITHOUT_TOKENS",
      `The model at ${url} answered without ${missing.join(" and ")}: training needs the tokens that it sampled`,
      "vLLM 0.10.2 and newer returns them for requests with `return_token_ids`; start it with `--logprobs-mode processed_logprobs` for correct log-probabilities",
    ),
  endpoint_too_large: (url: string, bytes: number) =>
    say("ENDPOINT_TOO_LARGE", `Cannot use the reply of ${url}: it is larger than ${sizeOf(bytes)}`),
  endpoint_unreadable: (url: string, body: string) =>
    say("ENDPOINT_UNREADABLE", `The model at ${url} answered ${quote(body)}: expected an OpenAI chat completion`),
};
