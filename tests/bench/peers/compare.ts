/**
 * The same scripted rollouts on hone, openai-agents and Inspect AI, tool in process, one after the other: CPU of each
 * one's own process per turn, as one table. Downloads the peers from PyPI on first use (about 280 MB on disk), into
 * `bench-peers/` of hone's cache, and says so. Needs uv.
 * Run: deno task bench:peers [rollouts] [at once]
 * @module
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { cacheDir } from "../../../pipeline/common/cache_dir.ts";
import { started, TURNS } from "../turn_run.ts";

const PACKAGES = ["openai-agents==0.24.0", "inspect-ai==0.3.285", "openai"];
const PEERS = { "openai-agents 0.24.0": "openai_agents.py", "Inspect AI 0.3.285": "inspect_ai_peer.py" };
const [rollouts = "64", at_once = "32"] = Deno.args;

/** The peers' own Python, made once. */
function environment(): string {
  const venv = join(cacheDir(), "bench-peers");
  const python = join(venv, "bin/python");
  const ready = join(venv, "installed");
  if (existsSync(ready)) return python;
  console.error(`downloading ${PACKAGES.join(", ")} from PyPI into ${venv} (about 280 MB on disk)`);
  execFileSync("uv", ["venv", "--quiet", "--clear", venv], { stdio: "inherit" });
  execFileSync("uv", ["pip", "install", "--quiet", "--python", python, ...PACKAGES], { stdio: "inherit" });
  Deno.writeTextFileSync(ready, PACKAGES.join("\n"));
  return python;
}

/** The last line of a program's output, which is its result. */
async function result(program: string, args: string[]): Promise<{ turns: number; cpu_ms_per_turn: number }> {
  const { stdout, success } = await new Deno.Command(program, { args, stdout: "piped", stderr: "inherit" }).output();
  if (!success) throw new Error(`${program} ${args.join(" ")} failed`);
  return JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
}

const python = environment();
const here = (file: string) => new URL(file, import.meta.url).pathname;
const hone_args = ["run", "-A", here("../turn_cost.ts"), "--rollouts", rollouts, "--at-once", at_once];
const hone = await result(Deno.execPath(), hone_args);
const rows: [string, number, number][] = [["hone, everything recorded", hone.turns, hone.cpu_ms_per_turn]];
for (const [name, file] of Object.entries(PEERS)) {
  await using endpoint = await started("./turn_endpoint.ts", String(TURNS));
  const { turns, cpu_ms_per_turn } = await result(python, [here(file), String(endpoint.port), rollouts, at_once]);
  rows.push([name, turns, cpu_ms_per_turn]);
}
console.log("| system, tool in process | turns | ms CPU a turn | against hone |\n|---|---|---|---|");
for (const [name, turns, cost] of rows) {
  console.log(`| ${name} | ${turns} | ${cost.toFixed(2)} | ${(cost / hone.cpu_ms_per_turn).toFixed(1)} × |`);
}
