/**
 * Starts a run in a separate process and returns as soon as the run has started or ended. The run outlives the MCP
 * server.
 * @module
 */
import type { CallToolResult } from "@modelcontextprotocol/server";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, open, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { objectIn } from "../../pipeline/common/json.ts";
import { lockHolder } from "../../pipeline/store/live_run.ts";
import { ownCommand } from "./own_command.ts";
import { result } from "./tool_results.ts";

const POLL_MS = 100;

/** Starts hone with `words`, which use `run_dir`. For a run that ends before it has started, returns its output. */
export async function launch(words: string[], run_dir: string, signal: AbortSignal): Promise<CallToolResult> {
  const [command, ...args] = [...ownCommand(), ...words];
  const folder = await mkdtemp(join(tmpdir(), "hone-mcp-"));
  const log = await open(join(folder, "said"), "w");
  try {
    const child = spawn(command!, args, { stdio: ["ignore", log.fd, log.fd], detached: true });
    let ended: number | null = null;
    child.once("error", () => ended ??= 1);
    child.once("exit", (code) => ended ??= code ?? 1);
    while (ended === null && !(await atWork(run_dir, child.pid))) await sleep(POLL_MS, undefined, { signal });
    child.unref();
    if (ended !== null) {
      const said = await readFile(join(folder, "said"), "utf8");
      return result([said], objectIn(said), ended !== 0);
    }
    const handle = { run: basename(run_dir), run_dir, status: "running" };
    return result([JSON.stringify(handle)], handle, false);
  } finally {
    await log.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** True once the process has locked the folder and can be reached. */
async function atWork(run_dir: string, pid: number | undefined): Promise<boolean> {
  return existsSync(join(run_dir, "control.json")) && (await lockHolder(run_dir)) === pid;
}

/** Arguments of a tool as flags of the command line. */
export function flags(args: Record<string, unknown>): string[] {
  return Object.entries(args).flatMap(([key, value]) => {
    const flag = `--${key.replaceAll("_", "-")}`;
    if (typeof value === "boolean") return value ? [flag] : [];
    return (Array.isArray(value) ? value : [value]).filter((one) => one !== undefined).map((one) => `${flag}=${one}`);
  });
}
