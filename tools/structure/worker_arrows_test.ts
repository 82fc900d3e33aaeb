import assert from "node:assert/strict";
import { lineOf } from "./finding.ts";
import { WORKER, workerArrows } from "./worker_arrows.ts";

function found(module: string, target: string, lazy = false): string[] {
  const path = target.endsWith(".py") ? `${WORKER}/${target}` : target;
  return workerArrows([{ file: `${WORKER}/${module}`, line: 2, specifier: target, target: path, lazy }]).map(lineOf);
}

Deno.test("workerArrows() lets engines use neutral modules, their own libraries and their own modules", () => {
  for (
    const [module, target, lazy] of [
      ["mlx/general.py", "packing.py"],
      ["mlx/general.py", "endpoint/http.py"],
      ["mlx/general.py", "mlx/lora.py"],
      ["mlx/general.py", "mlx.core"],
      ["cpu_llama/cascade.py", "numpy"],
      ["endpoint/http.py", "protocol.py"],
      ["engine_choice.py", "mlx/mlx_engine.py"],
      ["worker.py", "mlx/mlx_engine.py", true],
      ["cpu_llama/from_mlx.py", "mlx.core"],
    ] as const
  ) assert.deepEqual(found(module, target, lazy), [], `${module} ${target}`);
});

Deno.test("workerArrows() refuses engines in neutral modules, and what is another engine's", () => {
  const neutral = "neutral modules load without any engine; engine_choice.py alone imports one";
  assert.deepEqual(found("packing.py", "mlx/ops.py"), [
    `${WORKER}/packing.py:2: imports mlx/ops.py; wanted: ${neutral}`,
  ]);
  assert.deepEqual(found("endpoint/http.py", "mlx.core"), [
    `${WORKER}/endpoint/http.py:2: imports mlx.core; wanted: ${neutral}`,
  ]);
  assert.deepEqual(found("mlx/general.py", "cpu_llama/ops.py", true), [
    `${WORKER}/mlx/general.py:2: imports cpu_llama/ops.py; wanted: engines use neutral modules and never each other`,
  ]);
  assert.deepEqual(found("cpu_llama/ops.py", "mlx.core", true), [
    `${WORKER}/cpu_llama/ops.py:2: imports mlx.core; wanted: only mlx/ imports this library`,
  ]);
});
