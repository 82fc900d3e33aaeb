import assert from "node:assert/strict";
import { HoneError } from "../../diagnostics/mod.ts";
import { retryAfter } from "./fetch.ts";
import { Session } from "./session.ts";

interface Served {
  url: string;
  [Symbol.asyncDispose](): Promise<void>;
}

function serve(handler: (request: Request) => Response | Promise<Response>, tls?: Deno.TlsCertifiedKeyPem): Served {
  const stop = new AbortController();
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {}, signal: stop.signal, ...tls }, handler);
  const url = `${tls ? "https" : "http"}://127.0.0.1:${server.addr.port}/mcp`;
  return {
    url,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await server.finished;
    },
  };
}

/** What a person is told: code, message (the address as URL) and hint. */
async function told(url: string, start_timeout_secs = 5): Promise<(string | undefined)[]> {
  const endpoint = { kind: "url", url, transport: "auto", headers: {}, max_message_bytes: 1_000_000 } as const;
  const error = await Session.open("it", endpoint, { start_timeout_secs }).then(() => null, (error) => error);
  assert(error instanceof HoneError, String(error));
  return [error.code, error.message.replaceAll(url, "URL"), error.hint?.replaceAll(url, "URL")];
}

const REFUSALS: [string, ResponseInit, string, (string | undefined)[]][] = [
  ["401", { status: 401 }, "no key", [
    'Server "it" at URL answered HTTP 401: no key',
    "set bearer_env, headers or auth of servers.it, or run hone login URL",
  ]],
  ["403", { status: 403 }, '{"error":"forbidden","error_description":"not for you"}', [
    'Server "it" at URL answered HTTP 403: not for you',
    "the key of servers.it does not allow this: check bearer_env, headers or auth.scope",
  ]],
  ["404", { status: 404 }, "<html><title>Not  Found</title><body>…</body></html>", [
    'Server "it" at URL answered HTTP 404: Not Found',
    "check the path of the URL",
  ]],
  ["405", { status: 405 }, "", ['Server "it" at URL answered HTTP 405', "check the path of the URL"]],
  ["429", { status: 429, headers: { "retry-after": "7" } }, '{"error":{"message":"slow down"}}', [
    'Server "it" at URL answered HTTP 429: slow down',
    "retry after 7 s",
  ]],
  ["500", { status: 500 }, "it fell over", ['Server "it" at URL answered HTTP 500: it fell over', undefined]],
  ["503", { status: 503 }, "<h1>Down</h1>\n<p>for a while</p>", [
    'Server "it" at URL answered HTTP 503: Down for a while',
    undefined,
  ]],
];

for (const [status, init, body, [message, hint]] of REFUSALS) {
  Deno.test(`Session.open() says what a server refuses with ${status}, and what to do`, async () => {
    await using server = serve(() => new Response(body, init));
    assert.deepEqual(await told(server.url), ["SERVER_HTTP_STATUS", message, hint]);
  });
}

Deno.test("Session.open() says so when nothing listens, there is no such host, or nobody answers", async () => {
  const listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const { port } = listener.addr;
  listener.close();
  assert.deepEqual(await told(`http://127.0.0.1:${port}/mcp`), [
    "SERVER_UNREACHABLE",
    'Server "it" at URL cannot be reached: connection refused',
    "check that it is running and that the port is right",
  ]);
  assert.deepEqual(await told("http://nowhere.invalid/mcp"), [
    "SERVER_UNREACHABLE",
    'Server "it" at URL cannot be reached: there is no host of this name',
    "check the host of the URL",
  ]);
  const hold = Promise.withResolvers<Response>();
  await using silent = serve(() => hold.promise);
  assert.deepEqual(await told(silent.url, 1), [
    "SERVER_START_TIMEOUT",
    'Server "it" did not answer within 1 s of starting',
    "if it is only slow, for example during a first download, raise servers.it.start_timeout_secs (or --start-timeout-secs)",
  ]);
  hold.resolve(new Response());
});

Deno.test("Session.open() says so when a web page answers", async () => {
  await using page = serve(() => new Response("<html>", { headers: { "content-type": "text/html; charset=utf-8" } }));
  assert.deepEqual(await told(page.url), [
    "SERVER_NOT_MCP",
    'Server "it" at URL answered text/html, not MCP',
    "check the path of the URL: most servers answer at /mcp or /sse",
  ]);
  await using other = serve(() => Response.json({ hello: "world" }));
  assert.deepEqual(await told(other.url), [
    "SERVER_NOT_MCP",
    'Server "it" at URL answered JSON that is not JSON-RPC, not MCP',
    "check the path of the URL: most servers answer at /mcp or /sse",
  ]);
});

Deno.test("Session.open() does not trust a certificate that nobody signed, nor plain text for TLS", async () => {
  const folder = await Deno.makeTempDir();
  const made = await new Deno.Command("openssl", {
    args: ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"].concat(
      ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", `${folder}/key.pem`, "-out", `${folder}/cert.pem`],
    ),
    stderr: "null",
  }).output();
  assert(made.success, "openssl is needed to make a certificate");
  const [cert, key] = await Promise.all(["cert", "key"].map((name) => Deno.readTextFile(`${folder}/${name}.pem`)));
  await Deno.remove(folder, { recursive: true });
  const hint = "for a private certificate, set DENO_CERT to its issuer's file; for plain HTTP, write http://";
  await using server = serve(() => new Response("secret"), { cert: cert!, key: key! });
  assert.deepEqual(await told(server.url), [
    "SERVER_TLS",
    'Server "it" at URL cannot be trusted: its certificate is not valid here (CaUsedAsEndEntity)',
    hint,
  ]);
  await using plain = serve(() => new Response("no TLS here"));
  assert.deepEqual(await told(plain.url.replace("http:", "https:")), [
    "SERVER_TLS",
    'Server "it" at URL cannot be trusted: it does not support TLS, or only outdated versions',
    hint,
  ]);
});

Deno.test("Session.open() takes no key across a redirect to another origin", async () => {
  const seen: (string | null)[] = [];
  await using other = serve((request) => {
    seen.push(request.headers.get("x-key"));
    return new Response("no");
  });
  await using server = serve(() => new Response(null, { status: 307, headers: { location: other.url } }));
  const endpoint = { kind: "url", url: server.url, transport: "auto", headers: { "x-key": "secret" } } as const;
  const opening = Session.open("it", { ...endpoint, max_message_bytes: 1e6 }, { start_timeout_secs: 5 });
  const error = await opening.catch((error) => error);
  assert.equal(error.code, "SERVER_HTTP_STATUS");
  assert.equal(
    error.message,
    `Server "it" at ${server.url} answered HTTP 307: it redirects to ${other.url}, which is another origin or another method`,
  );
  assert.equal(error.hint, "set url to the address that it redirects to");
  assert.deepEqual(seen, []);
});

Deno.test("retryAfter() reads seconds and dates", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  assert.deepEqual([retryAfter("12", now), retryAfter("Thu, 01 Jan 2026 00:00:30 GMT", now)], [12, 30]);
  assert.deepEqual([retryAfter("soon", now), retryAfter(null, now)], [undefined, undefined]);
});
