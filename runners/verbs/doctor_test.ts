import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import doctor from "./doctor.ts";
import { runVerb } from "../../tests/fixtures/small_run.ts";

Deno.test("doctor says of every thing what was found and what it is needed for", async () => {
  const { out, code } = await runVerb(doctor, { format: "json" });
  const { ok, findings } = JSON.parse(out.join("\n"));
  assert.equal(code, ok ? 0 : 1);
  const names = findings.map(({ name }: { name: string }) => name);
  for (
    const name of [
      "Deno",
      "Python",
      "uv",
      "worker environment",
      "CUDA devices",
      "lightning environment",
      "vLLM environment",
      "OpenBLAS",
      "disk",
      "memory",
      "npx",
      "node",
    ]
  ) {
    assert.ok(names.includes(name), name);
  }
  for (const { found, needed_for } of findings) assert.ok(found !== "" && needed_for !== "");
});

Deno.test("doctor reports Python and uv missing, and exits with 1, when PATH has neither", async () => {
  // A process of its own: tests that run at the same time share this one's environment.
  const program = fileURLToPath(new URL("../../mod.ts", import.meta.url));
  const env = { ...Deno.env.toObject(), PATH: "/nonexistent" };
  const { stdout, status } = spawnSync(Deno.execPath(), ["run", "-A", program, "doctor"], { encoding: "utf8", env });
  assert.equal(status, 1);
  assert.match(stdout, /^missing {2}Python .*no Python 3\.\d+ or newer found; the worker trains/m);
  assert.match(stdout, /^missing {2}uv +not on PATH; /m);
});
