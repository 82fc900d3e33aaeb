import assert from "node:assert/strict";
import { ownEnv } from "../../../tests/fixtures/own_env.ts";
import { openPool, scenario, serverConfig, TEST_SERVER } from "../../../tests/fixtures/test_pool.ts";
import { HoneError } from "../../diagnostics/mod.ts";
import { containerArgs, type ContainerSpec, findEngine } from "./container.ts";

/** Logs its arguments, and runs what it is asked to run outside of any container. */
const FAKE_DOCKER = `#!/bin/sh
echo "$*" >> "$FAKE_LOG"
[ "$1" = run ] || exit 0
while [ "$1" != --entrypoint ]; do
  [ "$1" = -e ] && case $2 in *=*) export "$2";; esac
  [ "$1" = -w ] && cd "$2"
  shift
done
command=$2; shift 3
exec "$command" "$@"
`;

const BOX: ContainerSpec = {
  image: "notes:1",
  engine: "docker",
  network: "none",
  memory: "1g",
  pids: 256,
  mounts: [],
  args: [],
  capabilities: [],
  new_privileges: false,
  writable: ["/run/work"],
};
const SERVER = { command: "node", args: ["/app/x.js"], env: {}, cwd: "/run/work" };

async function withPath(files: Record<string, string>, run: (dir: string) => Promise<void>, keep = true) {
  const dir = await Deno.makeTempDir({ prefix: "hone-path-" });
  const path = Deno.env.get("PATH")!;
  for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(`${dir}/${name}`, text, { mode: 0o755 });
  using _env = ownEnv({ PATH: keep ? `${dir}:${path}` : dir, FAKE_LOG: `${dir}/log` });
  try {
    await run(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("containerArgs() is the whole command line", () => {
  const box = { ...BOX, network: "bridge", memory: "512m", pids: 9, mounts: ["/data:/data", "/out:/out:rw"] };
  const server = { ...SERVER, env: { HOME: "/run/home", TOKEN: "s3cret" } };
  const made = containerArgs("n", { ...box, args: ["--user", "root"] }, server, { HOME: "/root", PATH: "/bin" });
  const owner = Deno.uid() ? ["--user", `${Deno.uid()}:${Deno.gid()}`] : [];
  assert.deepEqual(made.args, [
    ...["run", "--rm", "-i", "--name", "n", "--label", "hone=server", "--pull=never", "--stop-timeout=0"],
    ...["--security-opt", "label=disable", "--cap-drop=ALL", "--security-opt", "no-new-privileges"],
    ...["--network", "bridge", "--memory", "512m", "--pids-limit", "9"],
    ...owner,
    ...["-v", "/run/work:/run/work", "-v", "/data:/data:ro", "-v", "/out:/out:rw", "-w", "/run/work"],
    ...["-e", "HOME=/run/home", "-e", "TOKEN", "--user", "root"],
    ...["--entrypoint", "node", "notes:1", "/app/x.js"],
  ]);
  assert.deepEqual(made.env, { HOME: "/root", PATH: "/bin", TOKEN: "s3cret" });
});

Deno.test("EnvironmentPool runs a server through docker and removes its container on release", async () => {
  await withPath({ docker: FAKE_DOCKER }, async (dir) => {
    const server = serverConfig({
      command: "deno",
      args: ["run", "-A", TEST_SERVER],
      isolation: "container",
      container: { image: "notes:1" },
    });
    {
      await using made = await openPool({ it: server });
      const signal = new AbortController().signal;
      const wanted = { rollout_id: "r", scenario: scenario(), catalog: made.catalog, signal };
      const one = await made.pool.lease(wanted);
      const env = JSON.parse((await one.call("environment", {})).text);
      assert.deepEqual([env.cwd, env.HOME], [one.workdir, one.workdir!.replace(/work$/, "0/home")]);
    }
    const lines = (await Deno.readTextFile(`${dir}/log`)).trim().split("\n");
    const started = lines.flatMap((line) => /^run --rm -i --name (\S+)/.exec(line)?.[1] ?? []);
    assert.equal(lines[0], "version");
    assert(started.length > 0 && new Set(started).size === started.length);
    assert.deepEqual(started.filter((name) => !lines.includes(`rm -f ${name}`)), []);
  });
});

Deno.test("findEngine() takes the first engine that answers, and says of each why it does not", async () => {
  const broken = "#!/bin/sh\necho 'Cannot connect to the daemon' >&2\nexit 1\n";
  await withPath({ docker: broken, podman: "#!/bin/sh\n" }, async () => {
    assert.equal(await findEngine("notes"), "podman");
    await assert.rejects(findEngine("notes", "docker"), {
      code: "NO_CONTAINER_ENGINE",
      message: 'Server "notes" cannot run in a container: docker does not work (Cannot connect to the daemon)',
    });
  });
  await withPath({}, async () => {
    await assert.rejects(findEngine("notes"), (error: HoneError) => {
      assert.equal(
        error.message,
        'Server "notes" cannot run in a container: docker is not on PATH, podman is not on PATH',
      );
      assert.equal(error.hint, "install or start one, or use isolation: process for servers.notes");
      return true;
    });
  }, false);
});

Deno.test("a server wants isolation and container both or neither", async () => {
  const server = serverConfig({ command: "deno", isolation: "container" });
  await assert.rejects(openPool({ it: server }), {
    code: "CONTAINER_MISSING",
    message: "servers.it has isolation: container but no container settings",
  });
});
