/** Nothing that the lock files do not name is installed, and nothing is built: building a package runs its code. @module */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../runs/hone_process.ts";

Deno.test("every task fails rather than use what deno.lock does not name", async () => {
  const { tasks } = JSON.parse(await readFile(join(ROOT, "deno.json"), "utf8")) as { tasks: Record<string, string> };
  for (const [name, task] of Object.entries(tasks)) {
    for (const command of task.split("&&").map((one) => one.trim())) {
      assert.match(command, /^deno (fmt|lint) ?|^deno (run|test|check|bench) --frozen( |$)/, `${name}: ${command}`);
    }
  }
  const config = JSON.stringify({ nodeModulesDir: "none", imports: { zod: "npm:zod@4.6.7" } });
  const dir = await mkdtemp(join(tmpdir(), "hone-lock-"));
  try {
    await writeFile(join(dir, "deno.json"), config);
    await writeFile(join(dir, "deno.lock"), await readFile(join(ROOT, "deno.lock"), "utf8"));
    await writeFile(join(dir, "a.ts"), 'import "npm:zod@4.6.6"; Deno.writeTextFileSync("mark", "");');
    const { stderr } = spawnSync(Deno.execPath(), ["run", "--frozen", "-A", "a.ts"], { cwd: dir, encoding: "utf8" });
    assert.match(stderr, /lockfile is out of date/);
    await assert.rejects(readFile(join(dir, "mark")));
  } finally {
    await rm(dir, { recursive: true });
  }
});

/** The command that installs the worker's packages on a machine with uv, or without. */
async function installing(with_uv: boolean): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), "hone-wheels-"));
  try {
    const bin = join(home, "bin");
    await mkdir(bin);
    const program = async (name: string, script: string) => {
      await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`);
      await chmod(join(bin, name), 0o755);
    };
    const told = `case "$*" in *install*) echo "$*" > '${home}/told'; exit 2;; esac`;
    // A Python that makes an environment in which it is itself the interpreter.
    const venv = `case "$*" in *venv*) /bin/mkdir -p "$3/bin"; /bin/cp '${bin}/python3' "$3/bin/python"; exit 0;; esac`;
    await program("python3", `${venv}\n${told}\necho 3.12`);
    if (with_uv) await program("uv", `${told}\necho uv`);
    const env = {
      HOME: home,
      HONE_CACHE_DIR: join(home, "cache"),
      PATH: bin,
      DENO_DIR: Deno.env.get("DENO_DIR") ?? join(Deno.env.get("HOME")!, ".cache/deno"),
    };
    spawnSync(Deno.execPath(), ["run", "-A", join(ROOT, "tests/fixtures/make_worker_env.ts")], { env });
    return await readFile(join(home, "told"), "utf8");
  } finally {
    await rm(home, { recursive: true });
  }
}

Deno.test("the worker's packages are wheels with known hashes, with uv as with pip", async () => {
  for (const with_uv of [true, false]) {
    const command = await installing(with_uv);
    assert.match(command, with_uv ? /^pip install/ : /^-m pip install/);
    for (const flag of ["--only-binary=:all:", "--require-hashes"]) assert.ok(command.includes(flag), command);
  }
});
