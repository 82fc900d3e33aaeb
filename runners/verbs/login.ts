/** `hone login`: the OAuth authorization code flow for one server; tokens are kept privately and renewed by runs. @module */
import { z } from "zod";
import { auth as say, HoneError } from "../../pipeline/diagnostics/mod.ts";
import { type Browser, OAuth } from "../../pipeline/mcp/auth/oauth.ts";
import { Session } from "../../pipeline/mcp/session/session.ts";
import { shutDown } from "../../pipeline/common/shut_down.ts";
import { type Caller, defineVerb, indented } from "./verb.ts";

const args = z.strictObject({
  client_id: z.string().optional().describe("A client that is registered there; hone registers itself when left out.")
    .meta({ examples: ["hone-desk"] }),
  client_secret_env: z.string().optional().describe("Environment variable that holds the client's secret.")
    .meta({ examples: ["NOTES_CLIENT_SECRET"] }),
  scope: z.string().optional().describe("Scopes to ask for; what the server asks for when left out.")
    .meta({ examples: ["notes:read"] }),
  port: z.int().min(0).max(65535).default(0).describe("Port of the callback on this machine; a free one when 0."),
  wait_secs: z.number().positive().default(300).describe("Longest wait for the person."),
});

export default defineVerb({
  name: "login",
  summary: "Log in to an MCP server with OAuth.",
  description:
    "Prints the address at which a person agrees, waits for the answer on this machine, and keeps the tokens in " +
    "hone's cache (readable by you alone). Runs, discover and call use and renew them for exactly this address.",
  effect: "acts",
  terminal_only: true,
  positional: [{ name: "url", description: "Address of the server, as the pipeline writes it." }],
  args,
  result: z.object({
    url: z.string(),
    implementation: z.object({ name: z.string(), version: z.string() }),
    protocol: z.string().describe("Revision of MCP."),
  }),
  examples: ["hone login https://mcp.example.com/mcp"],
  async run({ args, positional: [url = ""], signal, caller }) {
    if (!URL.canParse(url) || !/^https?:/.test(url)) throw new HoneError(say.bad_address(url));
    const { client_id, client_secret_env, scope, port, wait_secs } = args;
    const client_secret = client_secret_env === undefined ? undefined : Deno.env.get(client_secret_env);
    const settings = { grant: "refresh_token", client_id, client_secret, scope, key_algorithm: "ES256" } as const;
    await using callback = listen(port, AbortSignal.any([signal, AbortSignal.timeout(wait_secs * 1000)]), caller);
    const auth = new OAuth(url, settings, callback);
    const endpoint = { kind: "url", url, transport: "auto", headers: {}, auth, max_message_bytes: 1e7 } as const;
    const session = await Session.open("it", endpoint, { start_timeout_secs: wait_secs, signal });
    const { protocol, implementation } = session.description;
    await session.close();
    if (await auth.token() === undefined) throw new HoneError(say.none_wanted(url));
    return { url, implementation, protocol };
  },
  formats: { json: indented },
  text: ({ url, implementation: { name, version } }) => `logged in to ${url} (${name} ${version})`,
});

/** The callback of one login: tells the address to visit and resolves with what the browser brings back. */
function listen(port: number, signal: AbortSignal, caller: Caller): Browser & AsyncDisposable {
  const answer = Promise.withResolvers<URLSearchParams>();
  answer.promise.catch(() => {});
  signal.addEventListener("abort", () => answer.reject(signal.reason), { once: true });
  const server = Deno.serve({ hostname: "127.0.0.1", port, onListen() {} }, (request) => {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname !== "/callback") return new Response("not found", { status: 404 });
    answer.resolve(searchParams);
    return new Response("hone has its answer; you can close this page.", { headers: { connection: "close" } });
  });
  return {
    redirect_url: `http://127.0.0.1:${server.addr.port}/callback`,
    visit(address) {
      caller.note(`Open this address and agree:\n${address}`);
      return answer.promise;
    },
    [Symbol.asyncDispose]: () => shutDown(server),
  };
}
