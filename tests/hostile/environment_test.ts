/** What servers and `exec:` programs can see of hone's environment and of each other, and what outlives a reset. @module */
import assert from "node:assert/strict";
import { loadProgram } from "../../pipeline/program/exec_plugin.ts";
import type { Plugin, Roles } from "../../pipeline/plugin.ts";
import { fakeContext, fakeJudgeArgs } from "../../pipeline/testing.ts";
import { childEnv, withoutCredentials } from "../../pipeline/program/child_env.ts";
import { environment, hostile, hostilePool, run } from "./hostile_pool.ts";

const SECRETS = {
  HTTPS_PROXY: "http://person:proxy-secret@127.0.0.1:9",
  all_proxy: "socks5h://person:proxy-secret@127.0.0.1:9",
  http_proxy: "person:proxy-secret@127.0.0.1:9",
  npm_config_registry: "https://person:registry-secret@registry.example/npm/?token=registry-secret",
  NPM_CONFIG_REGISTRY: "https://registry-secret@registry.example/npm/",
  UV_INDEX_URL: "https://person:index-secret@index.example/simple",
  UV_DEFAULT_INDEX: "https://index-secret@index.example/simple",
  PIP_INDEX_URL: "https://person:index-secret@index.example/simple",
  PIP_EXTRA_INDEX_URL: "https://person:index-secret@index.example/simple",
  UV_INDEX_PRIVATE_PASSWORD: "index-secret",
  DENO_AUTH_TOKENS: "registry-secret@deno.example",
  OPENAI_API_KEY: "model-secret",
  SSH_AUTH_SOCK: "/tmp/agent-secret",
};
const PLAIN = {
  HTTPS_PROXY: "http://127.0.0.1:9",
  all_proxy: "socks5h://127.0.0.1:9",
  http_proxy: "127.0.0.1:9",
  npm_config_registry: "https://registry.example/npm/",
  NPM_CONFIG_REGISTRY: "https://registry.example/npm/",
  UV_INDEX_URL: "https://index.example/simple",
  UV_DEFAULT_INDEX: "https://index.example/simple",
  PIP_INDEX_URL: "https://index.example/simple",
};
const NPMRC = `registry=https://person:registry-secret@registry.example/npm/
@own:registry = "https://own.example/npm/"
//registry.example/npm/:_authToken=registry-secret
//own.example/npm/:_auth=\${OPENAI_API_KEY}
_password=registry-secret
https-proxy=http://person:proxy-secret@127.0.0.1:9
cafile=/etc/ssl/cert.pem
`;

/** Runs with other variables; all are as before afterwards. */
async function withEnv(env: Record<string, string>, use: () => Promise<void>) {
  const before = Object.keys(env).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(env)) Deno.env.set(name, value);
  try {
    await use();
  } finally {
    for (const [name, value] of before) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
  }
}

async function withNpmrc(use: (path: string) => Promise<void>) {
  const path = await Deno.makeTempFile({ suffix: ".npmrc" });
  await Deno.writeTextFile(path, NPMRC);
  try {
    await use(path);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("a server gets addresses of proxies and indexes without credentials, and none of hone's keys", async () => {
  await withNpmrc(async (npm_config_userconfig) => {
    await withEnv({ ...SECRETS, npm_config_userconfig }, async () => {
      await using made = await hostilePool({ it: hostile({ env: { MINE: "its own" } }) });
      const lease = await made.lease();
      const env = await environment(lease);
      assert.deepEqual(Object.fromEntries(Object.keys(PLAIN).map((name) => [name, env[name]])), PLAIN);
      assert.equal(env["npm_config_@own:registry"], "https://own.example/npm/");
      assert.equal(env.npm_config_https_proxy, "http://127.0.0.1:9");
      assert.equal(env.npm_config_cafile, "/etc/ssl/cert.pem");
      assert.deepEqual([env.npm_config_userconfig, env.MINE], [undefined, "its own"]);
      assert.deepEqual(Object.entries(env).filter(([, value]) => /secret/.test(value)), []);
    });
  });
});

Deno.test("npm reads the registries of the user's .npmrc from what a server is given, and no token", async () => {
  await withNpmrc(async (npm_config_userconfig) => {
    await withEnv({ npm_config_userconfig }, async () => {
      const dir = await Deno.makeTempDir();
      const env = childEnv({}, { home: dir, tmp: dir });
      const npm = async (...args: string[]) => {
        const command = new Deno.Command("npm", { args: ["config", ...args], env, clearEnv: true, cwd: dir });
        return new TextDecoder().decode((await command.output()).stdout);
      };
      try {
        assert.equal(await npm("get", "registry"), "https://registry.example/npm/\n");
        assert.equal(await npm("get", "@own:registry"), "https://own.example/npm/\n");
        assert.doesNotMatch(await npm("ls", "-l"), /secret|_authToken/);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error; // No npm here.
      } finally {
        await Deno.remove(dir, { recursive: true });
      }
    });
  });
});

Deno.test("withoutCredentials() leaves addresses that have none as they are", () => {
  const plain = [
    "http://127.0.0.1:3128",
    "proxy:3128",
    "https://registry.example/@scope/npm/",
    "socks5://[::1]:1080",
    "",
  ];
  assert.deepEqual(plain.map(withoutCredentials), plain);
  assert.equal(withoutCredentials("https://a%40b:c@d@host/path"), "https://host/path");
});

for (const reset of ["restart", "workdir"]) {
  Deno.test(`HOME and TMPDIR are each server's own and empty after a reset (reset: ${reset})`, async () => {
    await using made = await hostilePool({
      a: hostile({ reset }),
      b: hostile({ reset }),
      c: hostile({ reset: "restart" }),
    });
    const lease = await made.lease();
    const seen = await Promise.all(["a", "b", "c"].map((name) => environment(lease, name)));
    const dirs = seen.flatMap(({ HOME, TMPDIR }) => [HOME!, TMPDIR!]);
    assert.equal(new Set(dirs).size, 6);
    assert(seen.every(({ cwd }) => cwd === lease.workdir));
    for (const name of ["a", "b", "c"]) {
      await run(lease, 'mkdir -p "$HOME/.config/x" "$TMPDIR/x"; touch "$HOME/.bashrc" "$TMPDIR/x/y" here', name);
    }
    await lease.release();
    let next = await made.lease();
    while (next.workdir !== lease.workdir) next = await made.lease();
    for (const dir of [...dirs, next.workdir!]) assert.deepEqual([...Deno.readDirSync(dir)], [], dir);
    const now = await Promise.all(["a", "b", "c"].map((name) => environment(next, name)));
    assert.deepEqual(now.flatMap(({ HOME, TMPDIR }) => [HOME!, TMPDIR!]), dirs);
    assert.deepEqual(now.map(({ pid }, i) => pid === seen[i]!.pid), [reset === "workdir", reset === "workdir", false]);
  });
}

Deno.test("an exec: program gets the environment of a server, and its HOME goes with it", async () => {
  const base = await Deno.makeTempDir();
  await Deno.writeTextFile(
    `${base}/judge.py`,
    `import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    result = {"kind": "judge", "name": "looks", "summary": "Looks around."} if message["method"] == "hello" else {}
    if message["method"] == "judge": result = [{"abstain": json.dumps(dict(os.environ))}]
    print(json.dumps({"id": message["id"], "result": result}), flush=True)
`,
  );
  await withNpmrc(async (npm_config_userconfig) => {
    await withEnv({ ...SECRETS, npm_config_userconfig }, async () => {
      const plugin = await loadProgram("exec:./judge.py", base) as Plugin<"judge">;
      const role = await plugin.create(fakeContext({}, { base_dir: base })) as Roles["judge"] & AsyncDisposable;
      const [judgement] = await role.judge(fakeJudgeArgs());
      const env: Record<string, string> = JSON.parse((judgement as { abstain: string }).abstain);
      assert.deepEqual(Object.fromEntries(Object.keys(PLAIN).map((name) => [name, env[name]])), PLAIN);
      assert.deepEqual(Object.entries(env).filter(([, value]) => /secret/.test(value)), []);
      assert.notEqual(env.HOME, Deno.env.get("HOME"));
      assert((await Deno.stat(env.HOME!)).isDirectory && (await Deno.stat(env.TMPDIR!)).isDirectory);
      await role[Symbol.asyncDispose]();
      await assert.rejects(Deno.stat(env.HOME!), Deno.errors.NotFound);
    });
  });
  await Deno.remove(base, { recursive: true });
});
