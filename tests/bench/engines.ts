/**
 * Times the worker's engines on the built-in model, each in a process of its own in the environment that hone makes:
 * decoding, reading prompts, supervised and RL steps. Prints one JSON object a figure.
 * Run: deno run -A tests/bench/engines.ts [--repeat 2] [engine…]   (cpu_llama, mlx and lightning when left out)
 * @module
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { cacheDir } from "../../pipeline/common/cache_dir.ts";
import { WORKER_VARIABLES } from "../../pipeline/program/worker.ts";
import { ensureWorkerEnv, WORKER_DIR } from "../../pipeline/program/worker_env.ts";

const { values, positionals } = parseArgs({
  options: { repeat: { type: "string", default: "2" } },
  allowPositionals: true,
});
for (const engine of positionals.length > 0 ? positionals : ["cpu_llama", "mlx", "lightning"]) {
  const { python } = await ensureWorkerEnv({
    backend: engine === "lightning" ? "lightning" : "mlx",
    on_progress: (line) => console.error(line),
    signal: new AbortController().signal,
  });
  const words = [join(WORKER_DIR, "tests/bench_engines.py"), engine, "--cache", cacheDir(), "--repeat", values.repeat];
  const env = { ...Deno.env.toObject(), ...WORKER_VARIABLES };
  const child = spawn(python, words, { env, stdio: "inherit" });
  const code = await new Promise<number>((resolve) => child.once("close", (code) => resolve(code ?? 1)));
  if (code !== 0) Deno.exit(code);
}
