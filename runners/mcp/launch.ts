/**
 * Starts a run as a process of its own, as hone always does, and comes back as soon as it is at work or has ended.
 * The run outlives the MCP server.
 * @module
 */
import type { CallToolResult } from "@modelcontextprotocol/server";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { findRun, lockHolder } from "../../pipeline/store/live_run.ts";
import { newId } from "../verbs/run.ts";
import type { Verb } from "../verbs/verb.ts";
import { result } from "./tool_results.ts";

const POLL_MS = 100;

/** Starts `run`, `resume` or `evaluate`. A run that ends before it is at work is answered with what it said. */
export async function launch(
  verb: Verb,
  args: Record<string, unknown>,
  positional: string[],
  signal: AbortSignal,
): Promise<CallToolResult> {
  const resumed = verb.name === "resume";
  const run_dir = resumed ? await findRun(positional[0] ?? "latest") : resolve("runs", newId(nameOf(positional[0]!)));
  const words = [verb.name, ...(resumed ? [run_dir] : positional), ...flags(args), "--yes", "--format", "json"];
  const folder = await mkdtemp(join(tmpdir(), "hone-mcp-"));
  const log = await open(join(folder, "said"), "w");
  try {
    const command = [...self(), ...words, ...(resumed ? [] : ["--run-dir", run_dir])];
    const child = spawn(command[0]!, command.slice(1), { stdio: ["ignore", log.fd, log.fd], detached: true });
    let ended: number | null = null;
    child.once("error", () => ended ??= 1);
    child.once("exit", (code) => ended ??= code ?? 1);
    while (ended === null && !(await atWork(run_dir, child.pid))) await sleep(POLL_MS, undefined, { signal });
    child.unref();
    if (ended !== null) return result(await readFile(join(folder, "said"), "utf8"), "", ended !== 0);
    return result(JSON.stringify({ run: basename(run_dir), run_dir, status: "running" }), "", false);
  } finally {
    await log.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** True once the process holds the folder and can be asked. */
async function atWork(run_dir: string, pid: number | undefined): Promise<boolean> {
  return existsSync(join(run_dir, "control.json")) && (await lockHolder(run_dir)) === pid;
}

/** The command that is hone: the binary, or this checkout under Deno. */
function self(): string[] {
  if (Deno.build.standalone) return [Deno.execPath()];
  return [Deno.execPath(), "run", "-A", fileURLToPath(new URL("../../mod.ts", import.meta.url))];
}

function flags(args: Record<string, unknown>): string[] {
  return Object.entries(args).flatMap(([key, value]) => {
    const flag = `--${key.replaceAll("_", "-")}`;
    if (typeof value === "boolean") return value ? [flag] : [];
    return (Array.isArray(value) ? value : [value]).filter((one) => one !== undefined).map((one) => `${flag}=${one}`);
  });
}

/** A run is named after its file's folder where the file is just a pipeline.yaml. */
function nameOf(path: string): string {
  const name = basename(path).replace(/\.ya?ml$/i, "");
  return (name === "pipeline" ? basename(resolve(path, "..")) : name).replaceAll(/[^A-Za-z0-9._-]/g, "-").slice(0, 40);
}
