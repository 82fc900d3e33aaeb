/**
 * The pipeline that `hone eval` and `hone train` stand for: written beside the run's folder, so that it can be read,
 * changed and run again with `hone run`.
 * @module
 */
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { basename, dirname, extname, join, relative, resolve, sep } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import { readText } from "../../pipeline/common/read_text.ts";
import { writeText } from "../../pipeline/common/write_aside.ts";
import { type LoadedPipeline, loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { cli, config as pipeline_messages, HoneError, reasonOf } from "../../pipeline/diagnostics/mod.ts";
import type { JsonObject } from "../../pipeline/events.ts";
import { builtins } from "../../plugins/mod.ts";
import { approval } from "./consent.ts";
import { newId, overridesOf, performing } from "./new_run.ts";
import { terminalOnly, type VerbCall } from "./verb.ts";

/** Flags of both verbs. */
export const dataset_flags = {
  dataset: z.string().min(1).describe("File of scenarios: YAML, JSON, JSON lines or CSV."),
  servers: z.string().optional().describe("File that declares MCP servers (mcpServers JSON). Default: none."),
  mcp_url: z.string().optional().describe("Address of a running MCP server. Default: MCP_URL, if it is set."),
  allow_writes: z.boolean().default(false).describe(
    "Let the agent call tools of running servers that are not read-only.",
  ),
  judge_model: z.string().optional().describe(
    "Language model that judges every rollout by judge/rubric, and decides success beside the checks of the scenarios.",
  ),
  judge_base_url: z.string().optional().describe(
    "Its endpoint. Default: the Anthropic API for claude-…, otherwise the OpenAI API.",
  ),
  judge_api_key_env: z.string().optional().describe(
    "Environment variable with its API key. Default: that of the API; none for --judge-base-url.",
  ),
  set: z.array(z.string()).default([]).describe("Set a value of the pipeline, for example seed=8; repeatable."),
  output_dir: terminalOnly(
    z.string().optional().describe("Folder of the run; the pipeline is written beside it. Default: runs/<id>."),
  ),
  ...performing,
};

const flags = z.object(dataset_flags);
/** The flags, parsed. */
export type DatasetFlags = z.output<typeof flags>;

/** Where the run and its pipeline go. */
export interface Places {
  run_dir: string;
  file: string;
}

/** Reads the dataset far enough to know that it can be read, and chooses the places. */
export async function placesOf({ dataset, output_dir }: DatasetFlags, verb: string): Promise<Places> {
  await readText(dataset).catch((error) => {
    throw new HoneError(pipeline_messages.path_unreadable("--dataset", dataset, reasonOf(error)));
  });
  const run_dir = resolve(output_dir ?? join("runs", newId(`${verb}-${nameOf(dataset)}`)));
  if (existsSync(join(run_dir, "run.duckdb"))) throw new HoneError(cli.run_exists(run_dir));
  const file = `${run_dir}.yaml`;
  if (existsSync(file)) throw new HoneError(cli.file_exists(file));
  return { run_dir, file };
}

/** Stages and servers of both verbs; `split` is that of scenarios that set none. */
export function common(
  args: DatasetFlags,
  { file }: Places,
  verb: string,
  split: string,
): { fields: JsonObject; stages: JsonObject[] } {
  const { dataset, servers, allow_writes } = args;
  const mcp_url = args.mcp_url ?? Deno.env.get("MCP_URL");
  if (servers !== undefined && args.mcp_url !== undefined) throw new HoneError(cli.servers_twice());
  const has_tools = servers !== undefined || mcp_url !== undefined;
  // Without an address, it is the server of MCP_URL, which gets MCP_BEARER_TOKEN.
  const one: JsonObject = args.mcp_url === undefined ? {} : { url: args.mcp_url };
  const declared: JsonObject = servers !== undefined
    ? { servers: pathFrom(file, servers) }
    : mcp_url === undefined
    ? {}
    : { servers: { mcp: one } };
  return {
    fields: { name: `${verb}-${nameOf(dataset)}`, ...declared, ...(allow_writes && { allow_writes }) },
    stages: [
      ...(has_tools ? [{ use: "discoverer/mcp" }] : []),
      { use: "scenario-source/file", with: { path: pathFrom(file, dataset), split } },
      { use: "rollout/chat" },
      ...(has_tools ? [{ use: "judge/state" }, { use: "judge/calls" }] : []),
      { use: "judge/answer" },
      ...(args.judge_model === undefined
        ? []
        : [{ use: "judge/rubric", with: { endpoint: judgeOf(args, args.judge_model), decisive: true } }]),
      { use: "reward-shaper/weighted" },
    ],
  };
}

function judgeOf({ judge_base_url, judge_api_key_env }: DatasetFlags, model: string): JsonObject {
  if (judge_base_url !== undefined) {
    return {
      base_url: judge_base_url,
      model,
      ...(judge_api_key_env !== undefined && { api_key_env: judge_api_key_env }),
    };
  }
  return model.startsWith("claude")
    ? {
      api: "anthropic",
      base_url: "https://api.anthropic.com",
      model,
      api_key_env: judge_api_key_env ?? "ANTHROPIC_API_KEY",
    }
    : { base_url: "https://api.openai.com/v1", model, api_key_env: judge_api_key_env ?? "OPENAI_API_KEY" };
}

/** A model as a pipeline names it: a folder that exists by its path from there. */
export function modelFrom({ file }: Places, model: string): string {
  return /[/\\]/.test(model) && existsSync(model) ? pathFrom(file, model) : model;
}

/** Writes the pipeline, says where, and loads it. */
export async function writtenPipeline(
  call: VerbCall<DatasetFlags>,
  { file }: Places,
  pipeline: JsonObject,
  { trains }: { trains: boolean },
): Promise<LoadedPipeline> {
  const { args, signal, caller } = call;
  await mkdir(dirname(file), { recursive: true });
  await writeText(file, stringify(pipeline, { lineWidth: 120 }), { flag: "wx" });
  const shown = relative(Deno.cwd(), file);
  caller.note(`pipeline: ${shown} (\`hone run ${shown}\` runs it again)`);
  const overrides = overridesOf(args.set);
  return await loadPipeline(file, { builtins, signal, overrides, trains, approve: approval(call, shown) });
}

/** The dataset's name, as a pipeline may have it. */
function nameOf(dataset: string): string {
  const name = basename(dataset, extname(dataset)).replaceAll(/[^A-Za-z0-9._-]/g, "-").slice(0, 40);
  return /^[A-Za-z0-9]/.test(name) ? name : `d${name}`;
}

/** A path as a file beside which it is written names it. */
function pathFrom(file: string, path: string): string {
  const near = relative(dirname(file), resolve(path)).replaceAll(sep, "/");
  return near.startsWith(".") ? near : `./${near}`;
}
