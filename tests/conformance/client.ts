/**
 * The client program that the official conformance suite drives: hone's own sessions, as a rollout or `hone login`
 * opens them. The suite names the scenario in MCP_CONFORMANCE_SCENARIO, its data in MCP_CONFORMANCE_CONTEXT, and gives
 * the server's address as the last argument. Only the person at the browser is played here.
 * @module
 */
import { pipeline_schema } from "../../pipeline/config/pipeline_schema.ts";
import type { JsonObject } from "../../pipeline/events.ts";
import { argumentProblem } from "../../pipeline/mcp/pool/arguments.ts";
import { type Browser, OAuth, type OAuthSettings } from "../../pipeline/mcp/auth/oauth.ts";
import { KnownServer } from "../../pipeline/mcp/pool/server_table.ts";
import { Session } from "../../pipeline/mcp/session/session.ts";

interface Context {
  client_id?: string;
  client_secret?: string;
  private_key_pem?: string;
  signing_algorithm?: string;
  toolCalls?: { name: string; arguments: JsonObject }[];
}

const REDIRECT = "http://localhost:3000/callback";
/** What a person would write as `auth.client_id` for a server that takes addresses as clients. */
const CLIENT_DOCUMENT = "https://conformance-test.local/client-metadata.json";

const scenario = Deno.env.get("MCP_CONFORMANCE_SCENARIO") ?? "";
const context: Context = JSON.parse(Deno.env.get("MCP_CONFORMANCE_CONTEXT") ?? "{}");
const url = Deno.args.at(-1)!;
const CONFIG = pipeline_schema.shape.servers.parse({ it: { url, allow_writes: true, elicitation: "accept" } }).it!;

/** Agrees to everything at once, as the suite's authorization servers expect. */
const browser: Browser = {
  redirect_url: REDIRECT,
  async visit(address) {
    const answer = await fetch(address, { redirect: "manual" });
    await answer.body?.cancel();
    return new URL(answer.headers.get("location")!).searchParams;
  },
};

function authOf(): OAuth {
  const { client_id, client_secret, private_key_pem: private_key, signing_algorithm = "ES256" } = context;
  const credentials = { client_id, client_secret, private_key, key_algorithm: signing_algorithm };
  if (scenario.startsWith("auth/client-credentials")) {
    return new OAuth(url, { ...credentials, grant: "client_credentials" });
  }
  const settings: OAuthSettings = { ...credentials, grant: "refresh_token" };
  if (scenario === "auth/basic-cimd") settings.client_id = CLIENT_DOCUMENT;
  return new OAuth(url, settings, browser);
}

/** The least that a schema asks for. */
function sample(schema: JsonObject): JsonObject {
  const properties = (schema.properties ?? {}) as Record<string, { type?: string; default?: never }>;
  const samples: Record<string, string | number | boolean> = { string: "test", number: 1, integer: 1, boolean: true };
  const required = (schema.required ?? []) as string[];
  return Object.fromEntries(required.map((name) => [name, samples[properties[name]?.type ?? "string"] ?? "test"]));
}

async function use(session: Session): Promise<void> {
  const signal = new AbortController().signal;
  const server = new KnownServer("it", CONFIG, { allow_writes: true, call_timeout_secs: 20 });
  const { tools } = await server.discover(session, signal);
  const calls = scenario === "json-schema-2020-12-preservation"
    ? [{ name: tools[1]!.name, arguments: { schema: tools[0]!.input_schema } }]
    : context.toolCalls ?? tools.map(({ name, input_schema }) => ({ name, arguments: sample(input_schema) }));
  for (const call of calls) {
    const tool = tools.find(({ name }) => name === call.name);
    if (!tool) throw new Error(`no tool ${call.name}`);
    const problem = argumentProblem(tool.input_schema, call.arguments);
    if (problem) console.error(`${call.name}: ${problem}`);
    const { outcome, text } = await server.run(session, tool, call.arguments, signal);
    console.error(`${call.name}: ${outcome} ${text.slice(0, 200)}`);
  }
}

Deno.env.set("HONE_CACHE_DIR", await Deno.makeTempDir({ prefix: "hone-conformance-" }));
try {
  const auth = scenario.startsWith("auth/") ? authOf() : undefined;
  const endpoint = { kind: "url", url, transport: "auto", headers: {}, auth, max_message_bytes: 10_000_000 } as const;
  const session = await Session.open("it", endpoint, { start_timeout_secs: 20, elicitation: "accept" });
  await use(session);
  await session.close();
} finally {
  await Deno.remove(Deno.env.get("HONE_CACHE_DIR")!, { recursive: true });
}
// As hone's own program does; the suite waits for the process to end.
Deno.exit(0);
