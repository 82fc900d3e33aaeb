/** A server started by `deno` needs no deno on PATH, and leaves the lock file of the folder around the run alone. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EnvironmentPool } from "../../pipeline/mcp/pool/pool.ts";
import { fakeContext } from "../../pipeline/testing.ts";
import { pipeline_schema } from "../../pipeline/config/pipeline_schema.ts";

const SERVER = "npm:@modelcontextprotocol/server-filesystem@2026.8.31";

Deno.test("EnvironmentPool starts a server by hone's own deno when none is on PATH", async () => {
  const run_dir = await mkdtemp(join(tmpdir(), "hone-path-"));
  await Deno.writeTextFile(join(run_dir, "deno.json"), "{}");
  const { servers } = pipeline_schema.parse({
    name: "path",
    stages: [{ use: "discoverer/mcp" }],
    servers: {
      files: {
        command: "deno",
        args: ["run", "-A", "--no-config", "--no-lock", SERVER, "${workdir}"],
        env: { PATH: "/nowhere" },
      },
    },
  });
  const { log, signal } = fakeContext({});
  try {
    await using pool = new EnvironmentPool({ servers, run_dir, base_dir: run_dir, allow_writes: false, log, signal });
    const catalog = await pool.discover("files");
    assert.ok(catalog.tools.some(({ name }) => name === "write_file"));
    assert.ok(!(await readdir(run_dir)).includes("deno.lock"));
  } finally {
    await rm(run_dir, { recursive: true, force: true });
  }
});
