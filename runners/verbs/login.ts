/**
 * `hone login`: the OAuth authorization code flow for one server; tokens are stored privately and refreshed by runs.
 * @module
 */
import { z } from "zod";
import { auth as say, HoneError, reasonOf } from "../../pipeline/diagnostics/mod.ts";
import { type Browser, OAuth } from "../../pipeline/mcp/auth/oauth.ts";
import { Session } from "../../pipeline/mcp/session/session.ts";
import { shutDown } from "../../pipeline/common/shut_down.ts";
import { type Caller, defineVerb, indented } from "./verb.ts";

const args = z.strictObject({
  client_id: z.string().optional().describe("Id of a registered client. Default: hone registers itself.")
    .meta({ examples: ["hone-desk"] }),
  client_secret_env: z.string().optional().describe("Environment variable that holds the client's secret.")
    .meta({ examples: ["NOTES_CLIENT_SECRET"] }),
  scope: z.string().optional().describe("Scopes to request. Default: those that the server requires.")
    .meta({ examples: ["notes:read"] }),
  port: z.int().min(0).max(65535).default(0).describe("Port of the callback on this machine; 0 picks a free one."),
  wait_secs: z.number().positive().default(300).describe("Time limit for the login."),
});

export default defineVerb({
  name: "login",
  summary: "Log in to an MCP server with OAuth.",
  description:
    "Prints the URL to log in at, waits for the callback on this machine and stores the tokens in hone's cache (readable " +
    "only by you). Runs, discover and call use and refresh them for exactly this address.",
  effect: "acts",
  terminal_only: true,
  positional: [{ name: "url", description: "Address of the server, as in the pipeline." }],
  args,
  result: z.object({
    url: z.string(),
    implementation: z.object({ name: z.string(), version: z.string() }),
    protocol: z.string().describe("MCP protocol revision."),
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

/** The callback of one login: shows the address to visit and resolves with the parameters of the redirect. */
function listen(port: number, signal: AbortSignal, caller: Caller): Browser & AsyncDisposable {
  const answer = Promise.withResolvers<URLSearchParams>();
  answer.promise.catch(() => {});
  signal.addEventListener("abort", () => answer.reject(signal.reason), { once: true });
  const server = serve(port, (request) => {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname !== "/callback") return new Response("not found", { status: 404 });
    answer.resolve(searchParams);
    return new Response("Login complete; you can close this page.", { headers: { connection: "close" } });
  });
  return {
    redirect_url: `http://127.0.0.1:${server.addr.port}/callback`,
    visit(address) {
      caller.note(`Open this address and log in:\n${address}`);
      return answer.promise;
    },
    [Symbol.asyncDispose]: () => shutDown(server),
  };
}

function serve(port: number, answer: (request: Request) => Response) {
  try {
    return Deno.serve({ hostname: "127.0.0.1", port, onListen() {} }, answer);
  } catch (error) {
    throw new HoneError(say.port_unusable(port, reasonOf(error)));
  }
}
