import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { workerEnvState } from "./worker_env.ts";

const PROGRAM = join(import.meta.dirname!, "../../tests/fixtures/make_worker_env.ts");

/** A machine with its own PATH and cache folder; the first use of a worker on it is a process of its own. */
class Machine implements AsyncDisposable {
  constructor(readonly home: string) {}

  static async make(): Promise<Machine> {
    const home = await mkdtemp(join(tmpdir(), "hone-env-"));
    await mkdir(join(home, "bin"));
    await mkdir(join(home, "cache"));
    return new Machine(home);
  }

  get cache() {
    return join(this.home, "cache");
  }

  /** Puts a shell script on PATH. */
  async program(name: string, script: string) {
    const path = join(this.home, "bin", name);
    await writeFile(path, `#!/bin/sh\n${script}\n`);
    await chmod(path, 0o755);
  }

  /** Puts the machine's real program on PATH. */
  async real(name: string, path: string) {
    await symlink(path, join(this.home, "bin", name));
  }

  first_use(env: Record<string, string> = {}): Record<string, string> {
    const { status, stdout, stderr } = spawnSync(Deno.execPath(), ["run", "-A", PROGRAM], {
      encoding: "utf8",
      env: {
        HOME: this.home,
        DENO_DIR: Deno.env.get("DENO_DIR") ?? join(homedir(), ".cache", "deno"),
        HONE_CACHE_DIR: this.cache,
        PATH: join(this.home, "bin"),
        UV_CACHE_DIR: join(this.home, "uv"),
        ...env,
      },
    });
    assert.equal(status, 0, stderr);
    return JSON.parse(stdout);
  }

  async [Symbol.asyncDispose]() {
    await rm(this.home, { recursive: true, force: true });
  }
}

const realPython = () =>
  execFileSync("python3", ["-c", "import sys; print(sys.executable)"], { encoding: "utf8" }).trim();

const NETWORK_HINT = "The first use of a local trainer downloads about 250 MB from PyPI; connect to the internet " +
  "once, or configure another index in pip's own configuration.";

Deno.test("ensureWorkerEnv() asks for Python when there is none", async () => {
  await using machine = await Machine.make();
  assert.deepEqual(machine.first_use(), {
    code: "NO_PYTHON",
    message: "Cannot create the worker's environment: no Python 3.11 or newer found",
    hint:
      "Install Python with your system's package manager, or install uv, or set `python:` in the trainer's `with:`.",
  });
});

Deno.test("ensureWorkerEnv() names the Python that is too old", async () => {
  await using machine = await Machine.make();
  await machine.program("python3", "echo 3.9");
  assert.equal(
    machine.first_use().message,
    "Cannot create the worker's environment: no Python 3.11 or newer found (found python3 3.9)",
  );
});

Deno.test("ensureWorkerEnv() says what is missing when Python cannot make environments", async () => {
  await using machine = await Machine.make();
  const complaint = "The virtual environment was not created successfully because ensurepip is not\\navailable.";
  await machine.program("python3", `if [ "$1" = -c ]; then echo 3.12; else printf "${complaint}" >&2; exit 1; fi`);
  assert.deepEqual(machine.first_use(), {
    code: "NO_VENV",
    message: 'Cannot create a virtual environment with "python3": ensurepip is not available',
    hint: "On Debian and Ubuntu: `apt install python3-venv`; or install uv.",
  });
  assert.deepEqual(await readdir(machine.cache), []);
});

Deno.test("ensureWorkerEnv() says that the index cannot be reached, with pip, and leaves nothing behind", async () => {
  await using machine = await Machine.make();
  await machine.real("python3", realPython());
  const nowhere = { PIP_INDEX_URL: "http://127.0.0.1:9/", PIP_RETRIES: "1", PIP_CONFIG_FILE: "/dev/null" };
  assert.deepEqual(machine.first_use(nowhere), {
    code: "NO_NETWORK",
    message: "Cannot install the worker's packages: the package index cannot be reached " +
      "(Failed to establish a new connection: [Errno 111] Connection refused)",
    hint: NETWORK_HINT,
  });
  assert.deepEqual(await readdir(machine.cache), []);
});

Deno.test("ensureWorkerEnv() says that the index cannot be reached, with uv", async () => {
  await using machine = await Machine.make();
  await machine.program("python3", "echo 3.12");
  const refused = "error: Failed to fetch: http://127.0.0.1:9/mlx/\\n  cause: Connection refused (os error 111)\\n";
  await machine.program("uv", `if [ "$1" = pip ]; then printf "${refused}" >&2; exit 2; fi; echo uv`);
  assert.deepEqual(machine.first_use(), {
    code: "NO_NETWORK",
    message: "Cannot install the worker's packages: the package index cannot be reached " +
      "(Connection refused (os error 111))",
    hint: NETWORK_HINT,
  });
});

Deno.test("ensureWorkerEnv() says that no space is left, on a disk that is really full where we may mount one", async () => {
  await using machine = await Machine.make();
  const mounted = process.getuid?.() === 0 && Deno.build.os === "linux" &&
    spawnSync("mount", ["-t", "tmpfs", "-o", "size=200k", "tmpfs", machine.cache]).status === 0;
  try {
    if (mounted) await machine.real("python3", realPython());
    else {
      const full = "Error: [Errno 28] No space left on device";
      await machine.program("python3", `if [ "$1" = -c ]; then echo 3.12; else echo "${full}" >&2; exit 1; fi`);
    }
    assert.deepEqual(machine.first_use(), {
      code: "NO_SPACE",
      message: `Cannot write to ${
        JSON.stringify(machine.cache)
      }: no space left on the device (No space left on device)`,
      hint: "About 2 GB is needed; set HONE_CACHE_DIR to a folder with more room.",
    });
  } finally {
    if (mounted) spawnSync("umount", [machine.cache]);
  }
});

Deno.test("ensureWorkerEnv() takes what is complete as it is, and makes anew what is not", async () => {
  await using machine = await Machine.make();
  await machine.program(
    "python3",
    `if [ "$1" = -c ]; then echo 3.12; exit; fi
/bin/mkdir -p "$3/bin" && printf '#!/bin/sh\\n' > "$3/bin/python" && /bin/chmod +x "$3/bin/python"`,
  );
  const { python } = machine.first_use();
  const [made] = await readdir(machine.cache);
  assert.equal(python, join(machine.cache, made!, "bin/python"));
  await machine.program("python3", "exit 1");
  assert.equal(machine.first_use().python, python);
  await rm(join(machine.cache, made!, "complete"));
  assert.equal(machine.first_use().code, "NO_PYTHON");
});

Deno.test("workerEnvState() names one folder per set of requirements", async () => {
  const { home, python } = await workerEnvState("mlx");
  assert.match(home, /worker-mlx-[0-9a-f]{12}$/);
  assert.ok(python.startsWith(home));
});
