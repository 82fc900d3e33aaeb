/** The text of `--help`: examples first, then commands and flags. @module */
import { VERSION } from "../../pipeline/common/version.ts";
import type { Flag } from "../verbs/flags.ts";
import { type Entry, VERBS } from "../verbs/mod.ts";
import { EFFECTS, formatsOf, type Verb } from "../verbs/verb.ts";

/** Exit codes, as help and documentation list them. */
const EXIT_CODES: [number, string][] = [
  [0, "done"],
  [1, "failed"],
  [2, "invalid pipeline, flags or input; nothing was run"],
  [3, "the run stopped and can be resumed"],
  [4, "a plugin failed"],
  [130, "interrupted; the run can be resumed"],
];

/** Help of the program. */
export function generalHelp(): string {
  return `hone ${VERSION}: trains a base model to use an MCP server, and measures the gain.

examples:
  hone examples/files/pipeline.yaml      run a pipeline (short for: hone run …)
  hone resume                            resume the newest stopped run
  hone query latest "select policy, avg(success::int) from rollouts join rewards using (rollout_id) where purpose = 'evaluation' and invalid is null group by all"
  hone discover -- npx -y @modelcontextprotocol/server-everything

commands:
${listed(VERBS)}

  hone <command> --help shows the details. --version prints the version. --mcp serves the commands as an MCP server.
  Results go to stdout, progress to stderr; every command takes --format json.
  Exit codes: ${EXIT_CODES.map(([code, meaning]) => `${code} ${meaning}`).join("; ")}.
`;
}

/** Help of a word that verbs of two words begin with. */
export function groupHelp(first: string, group: Entry[]): string {
  return `hone ${first} <command>

commands:
${listed(group)}

  hone ${first} <command> --help shows the details.
`;
}

function listed(verbs: Entry[]): string {
  const width = Math.max(...verbs.map(({ name }) => name.length));
  return verbs.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`).join("\n");
}

/** Help of one verb. */
export function verbHelp(verb: Verb, flags: Flag[]): string {
  const usage = verb.positional.map(({ name, optional, variadic }) => {
    const shown = `<${name}>${variadic ? "…" : ""}`;
    return optional ? `[${shown}]` : shown;
  });
  const rows: [string, string][] = [
    ...verb.positional.map(({ name, description }): [string, string] => [`<${name}>`, description]),
    ...flags.map(({ name, type, value, description, standard }): [string, string] => [
      `--${name}${type === "boolean" ? "" : ` <${value}>`}`,
      description + (worthSaying(standard) ? ` (default ${JSON.stringify(standard)})` : ""),
    ]),
    ["--format <format>", `One of ${formatsOf(verb).join(", ")}.`],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return `hone ${verb.name} ${usage.join(" ")}

${verb.description}
${EFFECTS[verb.effect]}

examples:
${verb.examples.map((line) => `  ${line}`).join("\n")}

${rows.map(([name, text]) => `  ${name.padEnd(width)}  ${text}`).join("\n")}
`;
}

/** False for defaults that need no mention: undefined, false, empty. */
function worthSaying(standard: unknown): boolean {
  return standard !== undefined && standard !== false && !(Array.isArray(standard) && standard.length === 0);
}
