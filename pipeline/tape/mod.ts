/**
 * Opens a run's tape according to its pipeline: to record, to replay, or not at all. Rejects invalid combinations
 * before anything is started or written.
 * @module
 */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { PipelineConfig } from "../config/pipeline_schema.ts";
import { type Diagnostic, HoneError, tape as messages } from "../diagnostics/mod.ts";
import { isNamed, joinCatalogs } from "../mcp/catalog/catalog.ts";
import { describeDrift } from "../mcp/catalog/drift.ts";
import type { Environments } from "../mcp/pool/pool.ts";
import type { Log } from "../plugin.ts";
import { VERSION } from "../common/version.ts";
import { TAPE_FILE, TAPE_VERSION } from "./lines.ts";
import { Mask } from "./mask.ts";
import { readTape, type TapeContent } from "./reader.ts";
import { Recorder } from "./recorder.ts";
import { Player } from "./player.ts";
import { ReplyDesk } from "./replies.ts";
import type { Tape } from "./tape.ts";
import { TapeWriter } from "./writer.ts";

export type { Tape } from "./tape.ts";

/** A tape that is known to be usable: its file, and what a replay reads there. */
export interface TapeSource {
  path: string;
  content?: TapeContent;
  /** Whether replies of models behind endpoints are on it, and those of a policy that hone itself serves. */
  replies: boolean;
  own_replies: boolean;
}

/** Reads the tape of a replay and checks the file of a recording. Throws a HoneError where it cannot be used. */
export async function findTape(
  { tape, ladder, agent, servers, evaluate }: PipelineConfig,
  { run_dir, resumed, trainer }: { run_dir: string; resumed: boolean; trainer: boolean },
): Promise<TapeSource | null> {
  if (tape.mode === "live") return null;
  const path = fileOf(tape.path ?? join(run_dir, TAPE_FILE));
  // By default, replies of a policy that hone itself serves are not taped: training needs their tokens.
  const own_replies = tape.replies ?? (!trainer && agent.endpoint !== undefined);
  const models = Object.keys(evaluate.models).length > 0;
  const wanted = own_replies || models && tape.replies !== false;
  if (tape.mode === "record") {
    if (!resumed && existsSync(path)) throw new HoneError(messages.exists(path));
    return { path, replies: wanted, own_replies };
  }
  const rungs = trainer ? ladder.filter((rung) => rung !== "prompt") : [];
  if (tape.replies && rungs.length > 0) throw new HoneError(messages.trains(rungs));
  const content = await readTape(path);
  const problems = checkTape(content, servers);
  if (problems.length > 0) throw new HoneError(problems);
  const held = [...content.rollouts.values()].some(({ replies }) => replies.length > 0);
  if (tape.replies && !held) throw new HoneError(messages.no_replies(path));
  return { path, content, replies: wanted && held, own_replies: own_replies && held };
}

/** How the servers of a tape differ from those that the pipeline declares, as far as a declaration says. */
function checkTape({ path, catalogs }: TapeContent, servers: PipelineConfig["servers"]): Diagnostic[] {
  const [taped, declared] = [[...catalogs.keys()], Object.keys(servers)];
  if ([...taped].sort().join() !== [...declared].sort().join()) return [messages.other_servers(path, taped, declared)];
  return Object.entries(servers).flatMap(([server, { tools, deny, resources }]) => {
    const catalog = catalogs.get(server)!;
    const lacking = (tools ?? []).filter((name) => !catalog.tools.some((tool) => isNamed([name], tool.name)));
    const kept = catalog.tools.filter(({ name }) => (!tools || isNamed(tools, name)) && !isNamed(deny ?? [], name));
    // With `resources`, hone's own two tools stand in the catalog and in no list of the pipeline.
    const dropped = resources
      ? []
      : describeDrift(joinCatalogs([catalog]), joinCatalogs([{ ...catalog, tools: kept }]));
    const changes = [...dropped, ...lacking.map((name) => `tool ${server}/${name} is not on the tape`)];
    return changes.length > 0 ? [messages.other_tools(path, server, changes)] : [];
  });
}

/** What a run's tape is opened with. */
export interface OpenTape {
  source: TapeSource;
  config: PipelineConfig;
  run_dir: string;
  resumed: boolean;
  /** True where there is a trainer. */
  trainer: boolean;
  environments: Environments;
  log: Log;
  /** Ends the run. */
  fail: (error: Error) => void;
}

/** Opens the tape that `findTape` found. */
export async function openTape(options: OpenTape): Promise<Tape> {
  const { source: { path, content, replies, own_replies }, config, run_dir, resumed, environments, log, fail } =
    options;
  const mask = new Mask(config, run_dir);
  if (content) {
    if (options.trainer && config.ladder.some((rung) => rung !== "prompt")) log.warn(messages.training().message);
    const { servers, tape: { on_miss } } = config;
    const desk = replies ? await ReplyDesk.open() : undefined;
    return new Player({ content, servers, mask, on_miss, desk, own_replies, live: environments, log });
  }
  const { writer, fresh } = await TapeWriter.open(path, { resumed });
  if (fresh) await writer.write({ type: "tape", version: TAPE_VERSION, hone: VERSION, pipeline: config.name });
  const desk = replies ? await ReplyDesk.open() : undefined;
  return new Recorder({ environments, writer, mask, desk, own_replies, fail });
}

/** A folder stands for the tape in it. */
function fileOf(path: string): string {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ? join(path, TAPE_FILE) : path;
}
