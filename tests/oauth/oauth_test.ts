/** OAuth over real HTTP: long runs, many sessions, stored logins, refusals. @module */
import assert from "node:assert/strict";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ServerConfig } from "../../pipeline/config/pipeline_schema.ts";
import { HoneError } from "../../pipeline/diagnostics/mod.ts";
import { endpointOf } from "../../pipeline/mcp/session/server_endpoint.ts";
import { Session } from "../../pipeline/mcp/session/session.ts";
import { redact } from "../../pipeline/common/redact.ts";
import login from "../../runners/verbs/login.ts";
import { oauthServers } from "../fixtures/oauth_server.ts";
import { ownEnv } from "../fixtures/own_env.ts";
import { runVerb } from "../fixtures/small_run.ts";
import { openPool, scenario, serverConfig } from "../fixtures/test_pool.ts";

const LIMITS = { timeout_secs: 30 };

/** Runs a test with a cache of its own and the first refresh token in the environment. */
function test(name: string, body: (cache: string) => Promise<void>) {
  Deno.test(name, async () => {
    const cache = await Deno.makeTempDir({ prefix: "hone-oauth-" });
    using _env = ownEnv({
      HONE_CACHE_DIR: cache,
      OAUTH_TEST_REFRESH: "first-refresh-token",
      OAUTH_TEST_SECRET: "a-client-secret",
    });
    try {
      await body(cache);
    } finally {
      await Deno.remove(cache, { recursive: true });
    }
  });
}

const refreshing = { client_id: "hone", refresh_token_env: "OAUTH_TEST_REFRESH" };
const credentials = { grant: "client_credentials", client_id: "hone", client_secret_env: "OAUTH_TEST_SECRET" };

function declared(url: string, auth?: Record<string, string>): ServerConfig {
  return serverConfig({ url, allow_writes: true, ...(auth && { auth }) });
}

function open(url: string, auth?: Record<string, string>): Promise<Session> {
  const folders = { root: "/", work: "/", home: "/", tmp: "/" };
  const endpoint = endpointOf(declared(url, auth), { base_dir: "/", folders, max_result_bytes: 1_000_000 });
  return Session.open("it", endpoint, { start_timeout_secs: 20 });
}

async function refusal(opening: Promise<Session>): Promise<HoneError> {
  const error = await opening.then(() => null, (error) => error);
  assert(error instanceof HoneError, String(error));
  return error;
}

async function stored(cache: string): Promise<string> {
  const [name, ...others] = (await readdir(join(cache, "logins"))).filter((file) => file.endsWith(".json"));
  assert.deepEqual(others, []);
  const path = join(cache, "logins", name!);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(join(cache, "logins"))).mode & 0o777, 0o700);
  return await readFile(path, "utf8");
}

test("a run of many calls crosses expiries: 64 rollouts share each refresh, and no call is lost", async (cache) => {
  await using servers = oauthServers({ lifetime_ms: 5000 });
  const { url, seen } = servers;
  await using made = await openPool({ it: declared(url, refreshing) });
  const signal = new AbortController().signal;
  const wanted = { scenario: scenario(), catalog: made.catalog, signal };
  const outcomes = await Promise.all(Array.from({ length: 64 }, async (_, i) => {
    const lease = await made.pool.lease({ rollout_id: String(i), ...wanted });
    const results = [];
    for (let call = 0; call < 3; call++) results.push(await lease.call("wait", { ms: 2500 }));
    await lease.release();
    return results.map(({ outcome, text }) => outcome === "ok" ? "ok" : text);
  }));
  assert.deepEqual(new Set(outcomes.flat()), new Set(["ok"]));
  assert.equal(seen.calls, 192);
  assert.equal(seen.reused, 0);
  const refreshes = seen.grants.refresh_token!;
  assert(refreshes >= 2, `${refreshes} refreshes`);
  // One token for each refresh, whoever waited for it: never one for each session.
  assert.equal(seen.secrets.length, 2 * refreshes);
  const text = await stored(cache);
  assert(seen.secrets.slice(-2).every((secret) => text.includes(secret)));
  assert(seen.secrets.every((secret) => redact(`x ${secret} y`) === "x [redacted] y"));
});

test("a token that ends sooner than it said is renewed once for all sessions", async () => {
  await using servers = oauthServers({ lifetime_ms: 600_000, said_secs: null });
  const sessions = await Promise.all(Array.from({ length: 64 }, () => open(servers.url, refreshing)));
  assert.equal(servers.seen.grants.refresh_token, 1);
  servers.expire();
  const results = await Promise.all(sessions.map((session) => session.call("wait", { ms: 0 }, LIMITS)));
  assert(results.every(({ outcome }) => outcome === "ok"), results.find(({ outcome }) => outcome !== "ok")?.text);
  assert.equal(servers.seen.grants.refresh_token, 2);
  assert(servers.seen.expired > 0);
  await Promise.all(sessions.map((session) => session.close()));
});

test("client credentials are renewed too, and need no refresh token", async () => {
  await using servers = oauthServers({ lifetime_ms: 600_000, said_secs: null });
  const session = await open(servers.url, credentials);
  for (let call = 0; call < 4; call++) {
    if (call % 2) servers.expire();
    const { outcome, text } = await session.call("wait", { ms: 0 }, LIMITS);
    assert.equal(outcome, "ok", text);
  }
  await session.close();
  assert.deepEqual(servers.seen.grants, { client_credentials: 3 });
});

test("hone login keeps tokens that later sessions use and renew without being told", async (cache) => {
  await using servers = oauthServers({ lifetime_ms: 600_000 });
  const { code, out: said, err: told } = await runVerb(login, {
    positional: [servers.url],
    on_err: (text) => void fetch(text.split("\n")[1]!).then((answer) => answer.text()),
  });
  assert.equal(code, 0);
  assert.deepEqual(said, [`logged in to ${servers.url} (guarded 1.0.0)`]);
  await stored(cache);
  servers.expire();
  const session = await open(servers.url);
  assert.equal((await session.call("wait", { ms: 0 }, LIMITS)).outcome, "ok");
  await session.close();
  assert.deepEqual(servers.seen.grants, { authorization_code: 1, refresh_token: 1 });
  assert(![...said, ...told].some((line) => servers.seen.secrets.some((secret) => line.includes(secret))));
});

test("a refusal says what to do, and is not asked for again", async () => {
  await using servers = oauthServers({
    lifetime_ms: 60_000,
    intercept: () => Response.json({ error: "invalid_grant", error_description: "revoked" }, { status: 400 }),
  });
  const error = await refusal(open(servers.url, refreshing));
  assert.equal(error.code, "AUTH_REFUSED");
  assert.equal(
    error.message,
    `The authorization server of ${servers.url} issued no token (refresh_token): invalid_grant: ` +
      "what it was given is not good, or not any more",
  );
  assert.equal(error.hint, `run hone login ${servers.url} again`);
  await refusal(open(servers.url, refreshing));
  assert.equal(servers.seen.grants.refresh_token, 1);
});

test("an authorization server that is down for a moment is asked again", async () => {
  let down = 2;
  await using servers = oauthServers({
    lifetime_ms: 60_000,
    intercept: () => down-- > 0 ? Response.json({ error: "temporarily_unavailable" }, { status: 503 }) : null,
  });
  const session = await open(servers.url, refreshing);
  await session.close();
  assert.equal(servers.seen.grants.refresh_token, 3);
});

test("without a login the message says how to get one", async () => {
  await using servers = oauthServers({ lifetime_ms: 60_000 });
  const error = await refusal(open(servers.url, { client_id: "hone" }));
  assert.deepEqual([error.code, error.message, error.hint], [
    "AUTH_LOGIN_NEEDED",
    `No login for ${servers.url} is stored`,
    `run hone login ${servers.url}, or set auth.refresh_token_env`,
  ]);
});

test("secrets go to no other authorization server than the one they are for", async () => {
  await using servers = oauthServers({ lifetime_ms: 60_000 });
  const error = await refusal(open(servers.url, { ...credentials, issuer: "https://login.example.com" }));
  assert.deepEqual([error.code, error.message], [
    "AUTH_OTHER_ISSUER",
    `${servers.url} refers clients to ${servers.issuer}, but the secrets are for https://login.example.com: ` +
    "nothing was sent",
  ]);
  assert.deepEqual(servers.seen.grants, {});
});
