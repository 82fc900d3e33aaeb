/**
 * `hone completion <shell>`: a script that completes verbs, flags, their fixed values, pipelines and runs.
 * @module
 */
import { z } from "zod";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import { flagsOf } from "./flags.ts";
import { firstWords, VERBS } from "./mod.ts";
import { defineVerb, formatsOf, type Verb } from "./verb.ts";

const SHELLS: Record<string, (verbs: Verb[]) => string> = { bash, zsh, fish };

export default defineVerb({
  name: "completion",
  summary: "Print a completion script for your shell.",
  description: "Prints a script for bash, zsh or fish that completes commands, flags, flag values and file names.",
  effect: "reads",
  terminal_only: true,
  positional: [{ name: "shell", description: `One of ${Object.keys(SHELLS).join(", ")}.` }],
  args: z.strictObject({}),
  result: z.object({ shell: z.string(), script: z.string() }),
  examples: [
    'eval "$(hone completion bash)"',
    "hone completion zsh > ~/.zfunc/_hone",
    "hone completion fish > ~/.config/fish/completions/hone.fish",
  ],
  async run({ positional: [shell = ""] }) {
    const scriptOf = Object.hasOwn(SHELLS, shell) ? SHELLS[shell] : undefined;
    if (!scriptOf) {
      throw new HoneError(cli.bad_value("<shell>", shell, `expected one of ${Object.keys(SHELLS).join(", ")}`));
    }
    const verbs = await Promise.all(VERBS.map(async ({ load }) => (await load()).default));
    return { shell, script: scriptOf(verbs) };
  },
  formats: {},
  text: ({ script }) => script,
});

/** By first word, the second words of verbs that have two. */
function seconds(verbs: Verb[]): Map<string, Verb[]> {
  return Map.groupBy(verbs.filter(({ name }) => name.includes(" ")), ({ name }) => name.split(" ")[0]!);
}

function secondOf({ name }: Verb): string {
  return name.slice(name.indexOf(" ") + 1);
}

/** The flags of a verb, with the two that every verb has. */
function words(verb: Verb): string[] {
  return [...flagsOf(verb).map(({ name }) => `--${name}`), "--format", "--help"];
}

/** Flags with a closed set of values. */
function choices(verb: Verb): [string, string[]][] {
  const closed = flagsOf(verb).filter(({ value }) => value.includes("|"));
  const formats: [string, string[]] = ["format", formatsOf(verb)];
  return [...closed.map(({ name, value }): [string, string[]] => [name, value.split("|")]), formats];
}

function bash(verbs: Verb[]): string {
  const cases = verbs.map((verb) => {
    const values = choices(verb).map(([flag, all]) => `      --${flag}) words=${quoted(all.join(" "))};;`);
    return `  ${quoted(verb.name)})\n    case "$before" in\n${values.join("\n")}\n      *) words=${
      quoted(words(verb).join(" "))
    };;\n    esac;;`;
  });
  const groups = [...seconds(verbs)].map(([first, inner]) =>
    `  ${first})
    if [ "$COMP_CWORD" -eq 2 ]; then COMPREPLY=($(compgen -W ${
      quoted(inner.map(secondOf).join(" "))
    } -- "$word")); return; fi
    verb="$verb \${COMP_WORDS[2]}";;`
  );
  return `_hone() {
  local word="\${COMP_WORDS[COMP_CWORD]}" before="\${COMP_WORDS[COMP_CWORD-1]}" words="" verb="\${COMP_WORDS[1]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W ${
    quoted(firstWords(verbs.map(({ name }) => name)).join(" "))
  } -- "$word") $(compgen -f -- "$word"))
    return
  fi
  case "$verb" in
${groups.join("\n")}
  esac
  case "$verb" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _hone hone`;
}

function zsh(verbs: Verb[]): string {
  const cases = verbs.map((verb) => {
    const fixed = new Map(choices(verb));
    const flags = [
      ...flagsOf(verb).map(({ name, description, type }) => argument(name, description, type, fixed.get(name))),
      argument("format", "Format of the result.", "string", fixed.get("format")),
      argument("help", "Show help.", "boolean"),
    ];
    return `    ${quoted(verb.name)}) _arguments ${flags.join(" ")} '*:file:_files';;`;
  });
  const single = verbs.filter(({ name }) => !name.includes(" "));
  const first = [...single.map(described), ...[...seconds(verbs).keys()].map(quoted)];
  const groups = [...seconds(verbs)].map(([first, inner]) =>
    `    ${first})
      verbs=(${inner.map((verb) => described({ ...verb, name: secondOf(verb) })).join(" ")})
      if (( CURRENT == 2 )); then _describe command verbs; return; fi
      verb="$verb $words[2]"; shift words; (( CURRENT-- ));;`
  );
  return `#compdef hone
_hone() {
  local -a verbs=(${first.join(" ")})
  if (( CURRENT == 2 )); then _describe verb verbs; _files; return; fi
  local verb=$words[2]
  shift words; (( CURRENT-- ))
  case $verb in
${groups.join("\n")}
  esac
  case $verb in
${cases.join("\n")}
  esac
}
compdef _hone hone`;
}

function described({ name, summary }: Verb): string {
  return quoted(`${name}:${summary}`);
}

function argument(name: string, description: string, type: string, values?: string[]): string {
  const text = `--${name}[${description.replace(/[[\]:]/g, " ")}]`;
  if (type === "boolean") return quoted(text);
  return quoted(values ? `${text}:value:(${values.join(" ")})` : `${text}:value:_files`);
}

function fish(verbs: Verb[]): string {
  return verbs.flatMap((verb) => {
    const [first, second] = verb.name.split(" ");
    const group = `__fish_seen_subcommand_from ${first}`;
    const within = second === undefined ? group : `${group}; and __fish_seen_subcommand_from ${second}`;
    const offer = (condition: string, word: string, summary: string) =>
      `complete -c hone -n ${quoted(condition)} -a ${word} -d ${quoted(summary)}`;
    const offers = second === undefined ? [offer("__fish_use_subcommand", first!, verb.summary)] : [
      offer("__fish_use_subcommand", first!, `Commands about ${first}.`),
      offer(`${group}; and not __fish_seen_subcommand_from ${second}`, second, verb.summary),
    ];
    return [
      ...offers,
      ...flagsOf(verb).map(({ name, description, type, value }) =>
        `complete -c hone -n ${quoted(within)} -l ${name}${type === "boolean" ? "" : " -r"}` +
        `${value.includes("|") ? ` -f -a ${quoted(value.replaceAll("|", " "))}` : ""} -d ${quoted(description)}`
      ),
      `complete -c hone -n ${quoted(within)} -l format -r -f -a ${quoted(formatsOf(verb).join(" "))}`,
    ];
  }).join("\n");
}

/** The text quoted for a shell. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
