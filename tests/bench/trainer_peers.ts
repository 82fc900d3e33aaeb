/**
 * The torch engine beside TRL: the same pre-tokenised steps in turn, tokens per second and memory as ratios, loss and
 * gradient norm as evidence that both computed the same. Makes an environment with TRL on first use, and says so.
 * Run: deno task bench:trainer [--workload NAME]… [--peer NAME]… [--repeat N] [--model NAME] [--format json|table]
 *      deno task bench:trainer --overhead   (what a step costs besides its passes, and what its memory grows with)
 * What the options mean: plugins/trainer/worker/tests/bench_trainer/compare.py.
 * @module
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { cacheDir } from "../../pipeline/common/cache_dir.ts";
import { WORKER_VARIABLES } from "../../pipeline/program/worker.ts";
import { ensureWorkerEnv, WORKER_DIR } from "../../pipeline/program/worker_env.ts";

const { python } = await ensureWorkerEnv({
  backend: "bench-trainer",
  on_progress: (line) => console.error(line),
  signal: new AbortController().signal,
});
const overhead = Deno.args.includes("--overhead");
const script = join(WORKER_DIR, "tests/bench_trainer", overhead ? "overhead.py" : "compare.py");
const words = [script, "--cache", cacheDir(), ...Deno.args.filter((word) => word !== "--overhead")];
const env = { ...Deno.env.toObject(), ...WORKER_VARIABLES };
const child = spawn(python, words, { env, stdio: "inherit" });
Deno.exit(await new Promise<number>((resolve) => child.once("close", (code) => resolve(code ?? 1))));
