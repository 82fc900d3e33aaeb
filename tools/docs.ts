/**
 * Writes what is generated from the schemas: plugins/README.md, and in docs/ pipeline.md, scenarios.md, cli.md, queries.md,
 * pipeline.schema.json, scenario.schema.json, hone.schema.json.
 * With `--check` it writes nothing and fails where a file is out of date.
 * Run: deno run -A tools/docs.ts [--check]
 * @module
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import { pipeline_schema } from "../pipeline/config/pipeline_schema.ts";
import type { Plugin } from "../pipeline/plugin.ts";
import { fieldRows, markdownTable, pipelineJsonSchema } from "../pipeline/config/schema_tables.ts";
import { scenarioJsonSchema, scenarioSections } from "../pipeline/config/scenario_tables.ts";
import type { ScenarioPart } from "../pipeline/plugin.ts";
import { asPart } from "../pipeline/scenario/parts.ts";
import { hone_json } from "../plugins/exporter/hone_json.ts";
import { builtins } from "../plugins/mod.ts";
import { READY_QUERIES } from "../pipeline/verdict/mod.ts";
import { EFFECTS, formatsOf, type Verb } from "../runners/verbs/verb.ts";
import { ROOT } from "./sources.ts";

const GENERATED = "<!-- Written by tools/docs.ts (deno task docs); do not edit. -->";

function pluginPage(plugins: Record<string, Plugin>): string {
  const overview = Object.entries(plugins).map(([use, { summary }]) =>
    `| [\`${use}\`](#${anchor(use)}) | ${summary} |`
  );
  const sections = Object.entries(plugins).map(([use, { summary, config, examples }]) => {
    const shown = examples.map(({ title, with: settings }) => {
      const stage = { use, ...(Object.keys(settings).length > 0 && { with: settings }) };
      return `${title}:\n\n\`\`\`yaml\n${stringify([stage]).trimEnd()}\n\`\`\``;
    });
    return [`## ${use}`, summary, markdownTable(fieldRows(config)), ...shown].join("\n\n");
  });
  const head = ["| plugin | description |", "|---|---|", ...overview].join("\n");
  return [GENERATED, "# Built-in plugins", head, ...sections].join("\n\n") + "\n";
}

/** The anchor that Markdown renderers make of a heading. */
function anchor(heading: string): string {
  return heading.toLowerCase().replace(/[^a-z0-9 _-]/g, "").replaceAll(" ", "-");
}

function pipelinePage(): string {
  return [
    GENERATED,
    "# The pipeline file",
    "Every field of a pipeline file, with its default. Settings of plugins (`with:`) are in [plugins](../plugins/README.md), " +
    "fields of scenarios in [scenarios](scenarios.md). " +
    "`${NAME}` is read from the environment, `${workdir}` is the rollout's own folder, `$${NAME}` is literal text. " +
    "Paths are relative to the file.",
    markdownTable(fieldRows(pipeline_schema)),
  ].join("\n\n") + "\n";
}

const CSV_EXAMPLE = `task,tags,checks,answer.equals
"Write ""maple"" to ""tree.txt"".",write,"[{""file"": ""tree.txt"", ""equals"": ""maple""}]",
"Which word is in ""leaf.txt""?",read,,oak`;

function scenarioPage(parts: ScenarioPart[]): string {
  return [
    GENERATED,
    "# Scenario files",
    "A scenario is one task for the agent, with what decides whether it was solved. Files are named by `path` of the stage " +
    "`scenario-source/file`: YAML or JSON with a list of scenarios, or a map with the list under `scenarios`; or JSON " +
    "lines (`.jsonl`, `.ndjson`), one scenario a line; or CSV " +
    "(`.csv`). `hone validate` reports every problem of a pipeline and its scenarios, `hone scenarios check` tries the " +
    "scenarios on the real servers. For editors: [scenario.schema.json](scenario.schema.json), in YAML by this first line:",
    "```yaml\n# yaml-language-server: $schema=./docs/scenario.schema.json\n```",
    "Only `task` is required, and something that a decisive judge of the pipeline reads: `checks` (judge/state), `answer` " +
    "(judge/answer), `calls` (judge/calls) or its part of `expect`. A rollout succeeds if every decisive judge that finds " +
    "something to read scores it at least `evaluate.success_at` (1).",
    "In CSV, the header names the fields, and each row is a scenario. `answer.equals` is a field in a field; a list or a " +
    "map is written as JSON; a list of texts such as `tags` may also be separated by commas; an empty cell is a field " +
    "that is not set.",
    `\`\`\`csv\n${CSV_EXAMPLE}\n\`\`\``,
    scenarioSections(parts),
  ].join("\n\n") + "\n";
}

function verbSection(verb: Verb): string {
  const words = verb.positional.map(({ name, optional, variadic }) => {
    const word = variadic ? `${name}…` : name;
    return optional ? `[${word}]` : `<${word}>`;
  });
  const flags = fieldRows(verb.args).map((row) => ({ ...row, field: `--${row.field.replaceAll("_", "-")}` }));
  const formats = formatsOf(verb).map((format) => `"${format}"`).join(" | ");
  const format = {
    field: "--format",
    type: formats,
    default: '"text"',
    required: false,
    description: "Format of the result.",
  };
  return [
    `## hone ${[verb.name, ...words].join(" ")}`,
    `${verb.description} ${EFFECTS[verb.effect]}`,
    ...(verb.positional.length
      ? [verb.positional.map(({ name, description }) => `- \`${name}\`: ${description}`).join("\n")]
      : []),
    markdownTable([...flags, ...(flags.some(({ field }) => field === "--format") ? [] : [format])]),
    `\`\`\`sh\n${verb.examples.join("\n")}\n\`\`\``,
  ].join("\n\n");
}

function queriesPage(): string {
  const sections = Object.entries(READY_QUERIES).map(([name, { about, sql, takes }]) => {
    const value = takes ? ` \`--value\` gives the ${takes}; in the SQL, \`:${takes}\` stands for it, or for NULL.` : "";
    return `## @${name}\n\n${about}${value}\n\n\`\`\`sql\n${sql.trim()}\n\`\`\``;
  });
  return [
    GENERATED,
    "# Ready-made queries",
    "`hone query <run> @<name>` answers from SQL what the report of a run shows, and what one asks next; " +
    "`hone query --list` lists them. Their SQL, to start one's own queries from (`hone query --schema` describes the tables):",
    ...sections,
  ].join("\n\n") + "\n";
}

/** Every verb under runners/verbs, by name: the files whose default export is one. */
async function verbs(): Promise<Verb[]> {
  const folder = join(ROOT, "runners/verbs");
  const files = readdirSync(folder).filter((file) => /^[a-z_]+\.ts$/.test(file) && !/_(test|bench)\.ts$/.test(file));
  const modules = await Promise.all(files.map((file) => import(`../runners/verbs/${file}`)));
  const found = modules.map((module) => module.default as Verb | undefined).filter((verb) => verb?.run && verb.args);
  return (found as Verb[]).toSorted((a, b) => a.name < b.name ? -1 : 1);
}

/** The built-in judges' parts of scenarios. */
function judgesParts(plugins: Record<string, Plugin>): ScenarioPart[] {
  return Object.values(plugins).map((plugin) => asPart(plugin, false)).filter((part) => part !== undefined);
}

async function generate(): Promise<Record<string, string>> {
  const loaded = await Promise.all(Object.entries(builtins).map(async ([use, load]) => [use, (await load()).default]));
  const plugins: Record<string, Plugin> = Object.fromEntries(loaded);
  const sections = (await verbs()).map(verbSection);
  const parts = judgesParts(plugins);
  return {
    "plugins/README.md": pluginPage(plugins),
    "docs/pipeline.md": pipelinePage(),
    "docs/pipeline.schema.json": JSON.stringify(pipelineJsonSchema(plugins), null, 2) + "\n",
    "docs/scenarios.md": scenarioPage(parts),
    "docs/scenario.schema.json": JSON.stringify(scenarioJsonSchema(parts), null, 2) + "\n",
    "docs/hone.schema.json": JSON.stringify(z.toJSONSchema(hone_json), null, 2) + "\n",
    "docs/queries.md": queriesPage(),
    "docs/cli.md": [GENERATED, "# The command line", ...sections].join("\n\n") + "\n",
  };
}

if (import.meta.main) {
  const check = Deno.args.includes("--check");
  const stale: string[] = [];
  for (const [file, text] of Object.entries(await generate())) {
    const path = join(ROOT, file);
    const before = ((): string | undefined => {
      try {
        return readFileSync(path, "utf8");
      } catch {
        return undefined;
      }
    })();
    if (before === text) continue;
    stale.push(file);
    if (check) continue;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  if (check && stale.length > 0) {
    console.error(`out of date: ${stale.join(", ")}; run: deno task docs`);
    Deno.exit(1);
  }
  console.log(stale.length === 0 ? "generated documentation is up to date" : `written: ${stale.join(", ")}`);
}
