/**
 * `deno task soak`: kills a run at random moments, resumes it each time, and looks for anything that it had
 * acknowledged and lost. A record counts as acknowledged when the live run has answered a query with it: answers come
 * after the group commit. Exit code 1 on any loss, and when fewer kills hit than were asked for.
 *
 *     deno run -A tools/soak.ts [--seed N] [--kills 10] [--staleness 0] [--real] [--dir DIR]
 *
 * Without `--real` the model is scripted and everything else is real; a kill then hits hone, or the server processes
 * and hone a moment later. With `--real` (examples/files, few steps) it hits hone or the Python worker.
 * @module
 */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { cacheDir } from "../pipeline/common/cache_dir.ts";
import { lockHolder } from "../pipeline/store/live_run.ts";
import { stream } from "../pipeline/common/random.ts";
import { descendants, leftovers } from "../tests/runs/processes.ts";
import { ROOT, rows, type Running, SCRIPTED, settings, start } from "../tests/runs/hone_process.ts";

/** What is run, and what is killed when. */
interface Plan {
  pipeline: string;
  values: Record<string, unknown>;
  victims: string[];
  /** Seconds between the start of a process and its end by kill. */
  between: [number, number];
  rl_steps: number;
}

const STEPS = 22;

async function scripted(dir: string): Promise<Plan> {
  await cp(dirname(SCRIPTED), dir, { recursive: true });
  const scenario = (split: string, index: number) => {
    const [name, text] = [`${split}-${index}`, `leaf ${index * 7}`];
    const call = { tool: "write_file", arguments: { path: `${name}.txt`, content: text } };
    const task = `Create the file "${name}.txt" with the text "${text}".`;
    const checks = [{ file: `${name}.txt`, equals: text }];
    return { id: name, split, tags: ["write"], task, checks, solution: { calls: [call], answer: "Done." } };
  };
  const many = ["train", "heldout"].flatMap((split) => Array.from({ length: 24 }, (_, i) => scenario(split, i)));
  await writeFile(join(dir, "scenarios.yaml"), JSON.stringify(many));
  return {
    pipeline: join(dir, "pipeline.yaml"),
    values: {
      "stages.scripted.with.turn_secs": 0.2,
      "stages.scripted.with.step_secs": 0.7,
      "stages.scripted.with.gain": 0.03,
      "warm_start.batch_size": 4,
      "train.steps": STEPS,
      "train.give_up_after": 0,
      "train.groups_per_step": 3,
    },
    victims: ["hone", "servers, then hone"],
    between: [0.7, 6],
    rl_steps: STEPS,
  };
}

function real(): Plan {
  return {
    pipeline: join(ROOT, "examples/files/pipeline.yaml"),
    values: {
      "train.steps": 4,
      "train.groups_per_step": 3,
      "train.group_size": 4,
      "warm_start.demonstrations": 24,
      "evaluate.policies": ["base", "tuned"],
      "evaluate.sampling": ["greedy"],
      "limits.wall_clock_secs": 3600,
    },
    victims: ["hone", "worker"],
    between: [5, 45],
    rl_steps: 4,
  };
}

const problems: string[] = [];

function report(found: string[], where: string) {
  for (const problem of found) {
    problems.push(problem);
    console.log(`  LOSS ${where}: ${problem}`);
  }
}

/** Collects what a live run acknowledges, until `stop`. Keys are sequence numbers. */
async function follow(run_dir: string, seen: Map<number, string>, stop: AbortSignal) {
  while (!stop.aborted) {
    await sleep(60);
    if (await lockHolder(run_dir) === null) continue;
    const after = seen.size === 0 ? 0 : Math.max(...seen.keys());
    const sql = `SELECT seq, type, ref, payload FROM events WHERE seq > ${after} ORDER BY seq`;
    for (const row of await rows(run_dir, sql).catch(() => [])) seen.set(Number(row.seq), JSON.stringify(row));
  }
}

/** Acknowledged records that the folder no longer has as they were. */
async function lost(run_dir: string, seen: Map<number, string>): Promise<string[]> {
  if (seen.size === 0) return [];
  const now = await rows(run_dir, "SELECT seq, type, ref, payload FROM events ORDER BY seq");
  const have = new Map(now.map((row) => [Number(row.seq), JSON.stringify(row)]));
  const gone = [...seen].filter(([seq, record]) => have.get(seq) !== record).map(([, record]) => `lost ${record}`);
  return [...gone, ...now.flatMap(({ seq }, index) => Number(seq) === index + 1 ? [] : [`no event ${index + 1}`])];
}

/** Events without their rows, rollouts closed twice, steps that are not consecutive. */
async function inconsistent(run_dir: string): Promise<string[]> {
  const found: string[] = [];
  const tables = {
    "turn.completed": "turns",
    "tool.called": "tool_calls",
    "rollout.requested": "rollout_requests",
    "rollout.completed": "rollout_ends",
    "rollout.abandoned": "rollout_abandoned",
    "judgement.made": "judgement_records",
    "reward.shaped": "reward_records",
    "train.stepped": "train_steps",
    "policy.published": "policies",
    "evaluation.completed": "evaluations",
  };
  for (const [type, table] of Object.entries(tables)) {
    const sql = `SELECT (SELECT count(*) FROM events WHERE type = '${type}') AS events, count(*) AS rows FROM ${table}`;
    const [count] = await rows(run_dir, sql);
    if (count!.events !== count!.rows) found.push(`${count!.events} ${type} events, ${count!.rows} rows of ${table}`);
  }
  const twice = "SELECT rollout_id FROM rollout_ends GROUP BY ALL HAVING count(*) > 1";
  for (const row of await rows(run_dir, twice)) found.push(`${row.rollout_id} closed twice`);
  const steps = (await rows(run_dir, "SELECT optimizer_step AS step FROM train_steps ORDER BY seq")).map(({ step }) =>
    Number(step)
  );
  if (steps.some((step, index) => step !== index + 1)) found.push(`steps are not consecutive: ${steps.join(" ")}`);
  return found;
}

/** What is missing of a finished run. */
async function unfinished(run_dir: string, plan: Plan): Promise<string[]> {
  const found: string[] = [];
  const [steps] = await rows(run_dir, "SELECT count(*) AS n FROM train_steps WHERE kind = 'rl'");
  if (Number(steps!.n) !== plan.rl_steps) found.push(`${steps!.n} of ${plan.rl_steps} RL steps`);
  for (const row of await rows(run_dir, "SELECT rollout_id FROM rollouts WHERE abandoned = 'unfinished'")) {
    found.push(`${row.rollout_id} was never closed`);
  }
  const verdict = await readFile(join(run_dir, "verdict.json"), "utf8").catch(() => "{}");
  if (!JSON.parse(verdict).policies?.tuned) found.push("no verdict on the tuned policy");
  return found;
}

async function strike(running: Running, victim: string) {
  const children = await descendants(running.pid);
  const chosen = children.filter(({ command }) => command.includes(victim === "worker" ? "hone_worker" : "server-"));
  if (victim !== "hone") {
    for (const { pid } of chosen) {
      try {
        Deno.kill(pid, "SIGKILL");
      } catch {
        // It ended by itself meanwhile.
      }
    }
    if (victim !== "worker" || chosen.length === 0) await sleep(200);
  }
  if ((victim !== "worker" || chosen.length === 0) && running.live()) running.kill("SIGKILL");
  return { children, hit: chosen.length };
}

/** Starts or resumes, kills at the given moment, checks. False when the run ended before. */
async function round(plan: Plan, run_dir: string, seen: Map<number, string>, victim: string, after: number) {
  const running = launch(plan, run_dir);
  const stop = new AbortController();
  const following = follow(run_dir, seen, stop.signal);
  const began = Date.now();
  while (running.live() && Date.now() - began < after * 1000) await sleep(20);
  const alive = running.live();
  const { children, hit } = alive ? await strike(running, victim) : { children: [], hit: 0 };
  const { code, err } = await running.ended;
  stop.abort();
  await following;
  if (!alive) return { killed: false, code, err, hit };
  const recorded = existsSync(join(run_dir, "run.duckdb"));
  report((await leftovers(run_dir, children)).map((one) => `still running: ${one}`), "after the kill");
  if (recorded) report([...await lost(run_dir, seen), ...await recordsOf(run_dir)], "after the kill");
  if (victim === "worker" && hit > 0 && code !== 3) {
    report([`hone ended with ${code}: ${err.slice(-400)}`], "worker killed");
  }
  return { killed: true, code, err, hit };
}

/** A folder killed before its tables were made holds nothing yet. */
async function recordsOf(run_dir: string): Promise<string[]> {
  const usable = await rows(run_dir, "SELECT 1 FROM events LIMIT 1").then((found) => found.length > 0, () => false);
  return usable ? await inconsistent(run_dir) : [];
}

function launch(plan: Plan, run_dir: string): Running {
  const words = existsSync(join(run_dir, "run.duckdb"))
    ? ["resume", run_dir, "--yes"]
    : ["run", plan.pipeline, "--run-dir", run_dir, "--yes", ...settings(plan.values)];
  return start(words, cacheDir());
}

const { values: flags } = parseArgs({
  options: {
    seed: { type: "string", default: String(Math.floor(Math.random() * 1e6)) },
    kills: { type: "string", default: "10" },
    real: { type: "boolean", default: false },
    staleness: { type: "string", default: "0" },
    dir: { type: "string" },
  },
});

async function soak(): Promise<number> {
  const dir = flags.dir ?? await mkdtemp(join(tmpdir(), "hone-soak-"));
  const run_dir = join(dir, "run");
  const plan = flags.real ? real() : await scripted(dir);
  plan.values["train.max_staleness"] = Number(flags.staleness);
  const random = stream(Number(flags.seed), "soak");
  const [low, high] = plan.between;
  const model = flags.real ? "real model" : "scripted model";
  console.log(`seed ${flags.seed}, ${flags.kills} kills, staleness ${flags.staleness}, ${model}, ${run_dir}`);
  const seen = new Map<number, string>();
  const began = Date.now();
  let kills = 0;
  let last: { killed: boolean; code: number | string; err: string; hit: number } = {
    killed: true,
    code: 0,
    err: "",
    hit: 0,
  };
  while (last.killed && kills < Number(flags.kills)) {
    const victim = plan.victims[Math.floor(random() * plan.victims.length)]!;
    const after = low + random() * (high - low);
    last = await round(plan, run_dir, seen, victim, after);
    if (!last.killed) break;
    kills++;
    console.log(
      `kill ${kills}: ${victim}${victim === "hone" ? "" : ` (${last.hit} processes)`} after ${
        after.toFixed(2)
      } s, ${seen.size} records acknowledged so far`,
    );
  }
  if (last.killed) last = await round(plan, run_dir, seen, "none", Infinity);
  if (last.code !== 0) report([`the last process ended with ${last.code}: ${last.err.slice(-1000)}`], "at the end");
  else {report(
      [...await lost(run_dir, seen), ...await inconsistent(run_dir), ...await unfinished(run_dir, plan)],
      "at the end",
    );}
  report((await leftovers(run_dir)).map((one) => `still running: ${one}`), "at the end");
  if (kills < Number(flags.kills)) report([`the run ended after ${kills} of ${flags.kills} kills`], "at the end");
  const seconds = ((Date.now() - began) / 1000).toFixed(0);
  const verdict = problems.length === 0 ? "nothing lost" : `${problems.length} problems`;
  console.log(`${kills} kills, ${seen.size} acknowledged records, ${verdict}, ${seconds} s (seed ${flags.seed})`);
  if (!flags.dir && problems.length === 0) await rm(dir, { recursive: true, force: true });
  return problems.length === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await soak());
