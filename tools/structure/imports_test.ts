import assert from "node:assert/strict";
import { pythonImports } from "./python_source.ts";
import { importsOf } from "./typescript_imports.ts";

Deno.test("importsOf() reads code, types and import() of the graph's own files", () => {
  const span = (line: number) => ({ start: { line } });
  const code = (specifier: string, line: number) => ({ code: { specifier, span: span(line) } });
  const graph = {
    modules: [
      {
        specifier: "file:///repo/pipeline/a.ts",
        dependencies: [
          { specifier: "./b.ts", ...code("file:///repo/pipeline/b.ts", 4) },
          { specifier: "./c.ts", type: { specifier: "file:///repo/pipeline/c.ts", span: span(5) } },
          { specifier: "./d.ts", ...code("file:///repo/pipeline/d.ts", 9), isDynamic: true },
          { specifier: "zod", ...code("npm:zod@4.6.7", 0) },
        ],
      },
      { specifier: "file:///tmp/entry.ts", dependencies: [{ specifier: "./x.ts", ...code("file:///tmp/x.ts", 0) }] },
      { specifier: "npm:zod@4.6.7" },
    ],
  };
  const file = "pipeline/a.ts";
  assert.deepEqual(importsOf(graph, "file:///repo/"), [
    { file, line: 5, specifier: "./b.ts", target: "pipeline/b.ts", lazy: false },
    { file, line: 6, specifier: "./c.ts", target: "pipeline/c.ts", lazy: false },
    { file, line: 10, specifier: "./d.ts", target: "pipeline/d.ts", lazy: true },
    { file, line: 1, specifier: "zod", target: "npm:zod@4.6.7", lazy: false },
  ]);
});

Deno.test("pythonImports() finds the file of every form of import, and none in strings", () => {
  const text = [
    '"""A text:',
    "import nothing",
    '"""',
    "import numpy as np, worker.errors",
    "from worker import errors, __version__",
    "from worker.mlx import (",
    "    llama,  # the model",
    "    ops as o,",
    ")",
    "from ..errors import WorkerError",
    "from . import ops",
    "from .llama import Layer",
    "if TYPE_CHECKING:",
    "    from worker.mlx.ops import norm",
    "def load():",
    "    import mlx.core as mx",
  ].join("\n");
  const files = new Map([
    ["lib/worker/__init__.py", ""],
    ["lib/worker/errors.py", ""],
    ["lib/worker/mlx/__init__.py", ""],
    ["lib/worker/mlx/llama.py", ""],
    ["lib/worker/mlx/ops.py", ""],
    ["lib/worker/mlx/general.py", text],
  ]);
  const shown = pythonImports(files, "lib").map(({ line, specifier, target, lazy }) =>
    `${line} ${specifier} ${target}${lazy ? " lazy" : ""}`
  );
  assert.deepEqual(shown, [
    "4 numpy numpy",
    "4 worker.errors lib/worker/errors.py",
    "5 worker lib/worker/errors.py",
    "5 worker lib/worker/__init__.py",
    "6 worker.mlx lib/worker/mlx/llama.py",
    "6 worker.mlx lib/worker/mlx/ops.py",
    "10 ..errors lib/worker/errors.py",
    "11 . lib/worker/mlx/ops.py",
    "12 .llama lib/worker/mlx/llama.py",
    "14 worker.mlx.ops lib/worker/mlx/ops.py",
    "16 mlx.core mlx.core lazy",
  ]);
});
