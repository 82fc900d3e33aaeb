/**
 * Reads a file of scenarios (YAML, JSON, JSON lines or CSV), or rejects it as a whole with all its problems, each with file,
 * line and frame. Also checks that the catalog has the tools that scenarios name.
 * @module
 */
import { statSync } from "node:fs";
import { basename, extname, resolve } from "node:path";
import { explain } from "../config/issues.ts";
import { codeFrame, type Diagnostic, folders, HoneError, reasonOf, scenarios as say } from "../diagnostics/mod.ts";
import type { Scenario } from "../events.ts";
import type { ScenarioPart } from "../plugin.ts";
import type { ScenarioOptions } from "./read_scenarios.ts";
import { isObject } from "../common/json.ts";
import { MAX_TEXT_BYTES, readText } from "../common/read_text.ts";
import { namedTools, partOf } from "./parts.ts";
import { serverProblems } from "./server_needs.ts";
import type { Entry } from "./scenario_entry.ts";
import { autoSplit } from "./auto_split.ts";
import { asScenario, scenarioSchema } from "./scenario_schema.ts";
import { type Path, Source } from "../config/source.ts";
import { tableEntries } from "./scenario_table.ts";
import { MAX_DEPTH, nestsTooDeep } from "../config/yaml_bounds.ts";

/** See `readScenarios` of `scenarios.ts`. */
export async function readScenarios(
  files: { path: string; name: string }[],
  options: ScenarioOptions,
): Promise<Scenario[]> {
  const schema = scenarioSchema(options.parts ?? []);
  const problems: Diagnostic[] = [];
  const scenarios: Scenario[] = [];
  const places = new Map<string, string>();
  let auto = options.split === "auto";
  for (const file of files) {
    const entries = await readEntries(file, schema, problems);
    const stem = basename(file.name, extname(file.name));
    for (const [index, entry] of entries.entries()) {
      const scenario = readScenario(entry, `${stem}-${index + 1}`, options, schema, problems);
      if (!scenario) continue;
      if (isObject(entry.value) && (entry.value.split ?? undefined) !== undefined) auto = false;
      const { file: name, line } = entry.locate({ code: "", message: "" }, []);
      const taken = places.get(scenario.id);
      if (taken) problems.push(entry.locate(say.duplicate(scenario.id, taken), ["id"]));
      else places.set(scenario.id, `${name}:${line}`);
      scenarios.push(scenario);
    }
  }
  if (problems.length === 0) return auto ? autoSplit(scenarios) : scenarios;
  const order = files.map(({ name }) => name);
  const rank = ({ file = "" }: Diagnostic) => order.indexOf(file);
  throw new HoneError(
    problems.sort((a, b) => rank(a) - rank(b) || (a.line ?? 0) - (b.line ?? 0) || (a.col ?? 0) - (b.col ?? 0)),
  );
}

function readScenario(
  entry: Entry,
  id: string,
  { split, catalog, parts = [], must_have_part, servers, base_dir }: ScenarioOptions,
  schema: Schema,
  problems: Diagnostic[],
): Scenario | undefined {
  const { value } = entry;
  if (!isObject(value)) {
    problems.push(entry.locate(say.not_a_scenario(id, value), []));
    return undefined;
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    const { task, id: own } = value;
    const lacks = task === undefined || task === null || task === "";
    if (lacks) {
      problems.push(entry.locate(say.without_task(typeof own === "string" ? JSON.stringify(own) : id), ["task"]));
    }
    problems.push(...entry.explain(parsed.error.issues.filter(({ path }) => !(lacks && path[0] === "task"))));
    return undefined;
  }
  const scenario = asScenario(parsed.data, id, split === "auto" ? "train" : split);
  const has = parts.filter((part) => partOf(scenario, part) !== undefined);
  if (must_have_part && !has.some(({ decides }) => decides)) {
    const places = (some: ScenarioPart[]) => some.map(({ place }) => place);
    const wanted = places(parts.filter(({ decides }) => decides));
    problems.push(entry.locate(say.unjudged(JSON.stringify(scenario.id), places(has), wanted), []));
  }
  const fixture = scenario.setup?.fixture;
  if (fixture !== undefined && base_dir !== undefined && !isFolder(resolve(base_dir, fixture))) {
    problems.push(entry.locate(folders.no_fixture(fixture, base_dir), ["setup", "fixture"]));
  }
  for (const { diagnostic, path } of servers ? serverProblems(scenario, parts, servers) : []) {
    problems.push(entry.locate(diagnostic, path));
  }
  if (!catalog) return scenario;
  const known = [...new Set(catalog.tools.flatMap((tool) => [tool.model_name, tool.name]))];
  for (const { field, tool, path } of namedTools(scenario, parts)) {
    if (!known.includes(tool)) problems.push(entry.locate(say.unknown_tool(scenario.id, field, tool, known), path));
  }
  return scenario;
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

type Schema = ReturnType<typeof scenarioSchema>;

/** JSON lines are read one by one, and may be more than a YAML file, which is parsed as a whole. */
const MAX_LINES_BYTES = 256_000_000;

function isLines(path: string): boolean {
  return [".jsonl", ".ndjson"].includes(extname(path).toLowerCase());
}

async function readEntries(
  { path, name }: { path: string; name: string },
  schema: Schema,
  problems: Diagnostic[],
): Promise<Entry[]> {
  let text: string;
  try {
    text = await readText(path, isLines(path) ? MAX_LINES_BYTES : MAX_TEXT_BYTES);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const cause = code === "ENOENT" ? "no such file" : code === "EISDIR" ? "it is a folder" : reasonOf(error);
    problems.push({ ...say.file_unreadable(name, cause), file: name });
    return [];
  }
  const extension = extname(path).toLowerCase();
  const before = problems.length;
  const entries = isLines(path)
    ? lines(text, name, schema, problems)
    : [".yaml", ".yml", ".json"].includes(extension)
    ? list(text, name, schema, problems)
    : extension === ".csv"
    ? tableEntries(text, name, schema, problems)
    : undefined;
  if (!entries) problems.push({ ...say.file_unknown(name), file: name });
  else if (entries.length === 0 && problems.length === before) {
    problems.push({ ...say.none(name), file: name, line: 1, col: 1 });
  }
  return entries ?? [];
}

/** YAML, including JSON: a list, or a map with a list under `scenarios`. */
function list(text: string, name: string, schema: Schema, problems: Diagnostic[]): Entry[] {
  const source = new Source(text, name);
  const syntax = source.syntax();
  if (syntax.length > 0) {
    problems.push(...syntax);
    return [];
  }
  const raw = source.raw;
  const inner = isObject(raw) && "scenarios" in raw;
  const values: unknown = inner ? raw.scenarios : raw;
  if (values === null || values === undefined) return [];
  if (!Array.isArray(values)) {
    problems.push(source.at(say.not_a_list(values), inner ? ["scenarios"] : []));
    return [];
  }
  return values.map((value, index) => {
    const base: Path = inner ? ["scenarios", index] : [index];
    return {
      value,
      locate: (diagnostic, path) => source.at(diagnostic, [...base, ...path]),
      explain: (issues) => explain(issues, source, schema, base),
    };
  });
}

/** One JSON object per line; empty lines and `//` lines are skipped. */
function lines(text: string, name: string, schema: Schema, problems: Diagnostic[]): Entry[] {
  return text.split("\n").flatMap((line, index): Entry[] => {
    if (line.trim() === "" || line.trim().startsWith("//")) return [];
    const place = (diagnostic: Diagnostic): Diagnostic => ({
      ...diagnostic,
      file: name,
      line: index + 1,
      frame: codeFrame(text, index + 1, diagnostic.col ?? 1, 1),
    });
    let value: unknown;
    try {
      if (nestsTooDeep(line)) throw new Error(`it is nested more than ${MAX_DEPTH} deep`);
      value = JSON.parse(line);
    } catch (error) {
      problems.push(place({ ...say.json_syntax((error as Error).message), col: 1 }));
      return [];
    }
    const source = memo(() => new Source(line, name));
    return [{
      value,
      locate: (diagnostic, path) => place(path.length > 0 ? source().at(diagnostic, path) : { ...diagnostic, col: 1 }),
      explain: (issues) => explain(issues, source(), schema).map(place),
    }];
  });
}

function memo<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => made ??= make();
}
