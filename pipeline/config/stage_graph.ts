/**
 * Whether the parts of a pipeline can be combined: required kinds, kinds with at most one stage, a trainer for the
 * ladder, rungs for the evaluated policies. Works on raw values, so that it also reports on files that the schema
 * rejects. Findings carry the path that they concern.
 * @module
 */
import { config, type Diagnostic, runner } from "../diagnostics/mod.ts";
import { KIND_NAMES, KINDS } from "../kinds.ts";
import type { Kind, Plugin } from "../plugin.ts";
import { missingKinds } from "../run/bindings.ts";
import type { DeclaredRole } from "./declared_role.ts";
import { checkPolicies } from "./policy_checks.ts";
import { type Path, valueAt } from "./source.ts";

/** A problem and the field that it concerns. */
export interface Finding {
  diagnostic: Diagnostic;
  path: Path;
  side?: "key" | "value";
}

/** A stage whose plugin could be loaded. */
export interface Placed {
  index: number;
  id: string | undefined;
  plugin: Plugin;
  says: DeclaredRole;
  /** The stage's settings, parsed; undefined if they have problems. */
  with?: unknown;
}

const RUNGS = ["prompt", "warm_start", "rl"];
/** Fields that apply only to online training. */
const ONLINE_ONLY = ["ladder", "warm_start", "train"];

/** Folders of a run that hone uses itself; an exporter's folder is named after its stage. */
const OWN_FOLDERS = ["batches", "checkpoints", "dataset", "env", "evaluations", "suites"];

/** All problems between the stages, and between them and the top-level fields; `trains` as in `LoadOptions`. */
export function checkGraph(
  raw: unknown,
  stages: Placed[],
  builtin_uses: string[],
  { trains = true, suite = false }: { trains?: boolean; suite?: boolean } = {},
): Finding[] {
  const of = (kind: Kind) => stages.filter(({ plugin }) => plugin.kind === kind);
  const uses = (kind: Kind) => builtin_uses.filter((use) => use.startsWith(kind + "/"));
  const findings: Finding[] = [];
  const report = (diagnostic: Diagnostic, path: Path, side?: "key") => findings.push({ diagnostic, path, side });
  const hosted = of("trainer")[0]?.says.mode === "hosted";
  for (const kind of missingKinds((kind) => of(kind).length > 0, hosted)) {
    report(config.stage_missing(kind, KINDS[kind].why ?? "The run requires one", uses(kind)), ["stages"], "key");
  }
  for (const kind of KIND_NAMES.filter((kind) => KINDS[kind].most === 1)) {
    const [first, ...more] = of(kind);
    for (const { index } of more) report(config.stage_twice(kind, first!.index), ["stages", index]);
  }
  const servers = valueAt(raw, ["servers"]);
  const declared = servers !== undefined && Object.keys(servers as object).length > 0;
  if (declared && of("discoverer").length === 0) {
    report(config.stage_missing("discoverer", "It discovers the tools of the declared servers", uses("discoverer")), [
      "stages",
    ], "key");
  }
  if (of("trainer").length === 0) {
    for (const { index } of of("exporter")) report(config.exporter_without_trainer(), ["stages", index]);
  }
  for (const { index } of of("exporter").filter(({ says }) => says.listens)) {
    report(config.exporter_listens(), ["stages", index]);
  }
  if (!declared && of("discoverer").length > 0) {
    report(config.servers_missing(), ["stages", of("discoverer")[0]!.index]);
  }
  const trainer = of("trainer").length > 0;
  return [
    ...findings,
    ...checkJudges(of("judge"), hosted),
    ...(hosted ? [...checkHosted(raw), ...checkWeights(of("exporter"))] : []),
    ...checkTraining(raw, { trainer, hosted, trains, suite }),
    ...checkServers(servers),
  ];
}

/** Whether the judges suffice for a verdict: one is decisive, no relative one is; a hosted trainer needs a grader. */
function checkJudges(judges: Placed[], hosted: boolean): Finding[] {
  const findings: Finding[] = [];
  const name = ({ id, plugin }: Placed) => id ?? plugin.name;
  for (const judge of judges.filter(({ says }) => says.scale === "relative" && says.decisive)) {
    findings.push({ diagnostic: config.judge_relative_decisive(name(judge)), path: ["stages", judge.index] });
  }
  if (judges.length > 0 && judges.every(({ says }) => says.decisive === false)) {
    findings.push({ diagnostic: config.no_decisive_judge(judges.map(name)), path: ["stages"], side: "key" });
  }
  if (hosted && judges.length > 0 && judges.every(({ says }) => says.has_grader === false)) {
    findings.push({ diagnostic: config.no_grader(judges.map(name)), path: ["stages"], side: "key" });
  }
  return findings;
}

/** Whether the judges and parts that the reward shaper's settings name exist. `ids` are those of `stages`. */
export function checkReward(stages: Placed[], ids: string[]): Finding[] {
  const judges = new Map(
    stages.flatMap(({ plugin }, i) => plugin.kind === "judge" ? [[ids[i]!, plugin] as const] : []),
  );
  const named = stages.flatMap(({ index, plugin, with: settings }) =>
    settings === undefined ? [] : (plugin.weighs?.(settings) ?? []).map((weighed) => ({ index, ...weighed }))
  );
  return named.flatMap(({ index, name, path, side = "key" }): Finding[] => {
    const at: Path = ["stages", index, "with", ...path];
    if (judges.has(name)) return [];
    const dot = name.lastIndexOf(".");
    const [judge, part] = dot < 0 ? [name, ""] : [name.slice(0, dot), name.slice(dot + 1)];
    const plugin = judges.get(judge);
    if (!plugin) {
      return [{ diagnostic: config.weight_without_judge(name, judge, [...judges.keys()]), path: at, side }];
    }
    if (!plugin.parts || plugin.parts.includes(part)) return [];
    return [{ diagnostic: config.weight_without_part(name, judge, part, plugin.parts), path: at, side }];
  });
}

/** A hosted trainer trains by jobs: fields for online training are not allowed. */
function checkHosted(raw: unknown): Finding[] {
  return ONLINE_ONLY.filter((field) => valueAt(raw, [field]) !== undefined)
    .map((field) => ({ diagnostic: config.online_only(field), path: [field], side: "key" }));
}

/** A hosted trainer keeps its weights. */
function checkWeights(exporters: Placed[]): Finding[] {
  return exporters.flatMap(({ id, index, plugin, says }) => {
    const [format] = says.needs ?? [];
    const named = id ?? plugin.name;
    return format ? [{ diagnostic: runner.no_weights(named, format), path: ["stages", index] }] : [];
  });
}

/** Checks ladder, model and policies against the trainer, or its absence. */
function checkTraining(
  raw: unknown,
  { trainer, hosted, trains, suite }: { trainer: boolean; hosted: boolean; trains: boolean; suite: boolean },
): Finding[] {
  const findings: Finding[] = [];
  const ladder = valueAt(raw, ["ladder"]);
  const rungs = Array.isArray(ladder) ? ladder.map(String) : undefined;
  if (rungs && rungs.every((rung) => RUNGS.includes(rung))) {
    const ranks = rungs.map((rung) => RUNGS.indexOf(rung));
    if (ranks.some((rank, i) => i > 0 && rank <= ranks[i - 1]!)) {
      findings.push({ diagnostic: config.ladder_order(rungs), path: ["ladder"] });
    }
    const trained = rungs.find((rung) => rung !== "prompt");
    if (trained && !trainer) findings.push({ diagnostic: config.ladder_without_trainer(trained), path: ["ladder"] });
  }
  if (trainer && valueAt(raw, ["model"]) === undefined) {
    findings.push({ diagnostic: config.model_missing(), path: ["model"] });
  }
  if (!trainer && !suite && valueAt(raw, ["agent", "endpoint"]) === undefined) {
    findings.push({ diagnostic: config.no_policy(), path: ["stages"], side: "key" });
  }
  const climbed = hosted ? ["rl"] : rungs ?? (trainer ? ["warm_start", "rl"] : []);
  return [...findings, ...checkPolicies(raw, trains ? climbed : null)];
}

/** Checks the requirements of a server's isolation. */
function checkServers(servers: unknown): Finding[] {
  const findings: Finding[] = [];
  if (servers === null || typeof servers !== "object") return findings;
  for (const [name, server] of Object.entries(servers)) {
    const isolation = valueAt(server, ["isolation"]);
    if (isolation === "shared" && JSON.stringify(server).includes("${workdir}")) {
      findings.push({ diagnostic: config.shared_workdir(name), path: ["servers", name, "isolation"] });
    }
    if (valueAt(server, ["url"]) !== undefined && valueAt(server, ["fixture"]) !== undefined) {
      findings.push({ diagnostic: config.fixture_of_url(name), path: ["servers", name, "fixture"] });
    }
    const container = valueAt(server, ["container"]) !== undefined;
    if (container !== (isolation === "container")) {
      const diagnostic = container ? config.container_unused(name) : config.container_missing(name);
      findings.push({ diagnostic, path: ["servers", name, container ? "container" : "isolation"] });
    }
  }
  return findings;
}

/**
 * The ids of the stages: the given ones, or the plugin's name, numbered if it is taken. Reports duplicates, and
 * exporters whose folder is reserved.
 */
export function nameStages(stages: Placed[]): { ids: string[]; findings: Finding[] } {
  const findings: Finding[] = [];
  const taken = new Map<string, number>();
  for (const { id, index } of stages) {
    if (id === undefined) continue;
    const other = taken.get(id);
    if (other === undefined) taken.set(id, index);
    else findings.push({ diagnostic: config.duplicate_id(id, other), path: ["stages", index, "id"] });
  }
  const ids = stages.map(({ id, index, plugin }) => {
    if (id !== undefined) return id;
    let name = plugin.name;
    for (let n = 2; taken.has(name); n++) name = `${plugin.name}_${n}`;
    taken.set(name, index);
    return name;
  });
  for (const [i, { index, plugin }] of stages.entries()) {
    if (plugin.kind !== "exporter" || !OWN_FOLDERS.includes(ids[i]!)) continue;
    findings.push({ diagnostic: config.export_folder_taken(ids[i]!, OWN_FOLDERS), path: ["stages", index] });
  }
  return { ids, findings };
}
