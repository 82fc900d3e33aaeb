/** Messages about OAuth: tokens that cannot be obtained. @module */
import { quote, say } from "./diagnostic.ts";

/** Problems of OAuth. `url` is the MCP server's. No message holds a token. */
export const auth = {
  port_unusable: (port: number, cause: string) =>
    say("AUTH_PORT", `Cannot wait for the login on port ${port}: ${cause}`, "Without --port, a free one is used."),
  login_needed: (url: string) =>
    say("AUTH_LOGIN_NEEDED", `No login for ${url} is stored`, `run hone login ${url}, or set auth.refresh_token_env`),
  no_client: (url: string) =>
    say(
      "AUTH_NO_CLIENT",
      `No OAuth client is registered for ${url}`,
      `run hone login ${url}, or set auth.client_id`,
    ),
  other_issuer: (url: string, issuer: string, wanted: string) =>
    say(
      "AUTH_OTHER_ISSUER",
      `${url} refers clients to ${issuer}, but the secrets are for ${wanted}: nothing was sent`,
      "if the server has moved, fix auth.issuer or log in again",
    ),
  refused: (url: string, grant: string, cause: string) =>
    say(
      "AUTH_REFUSED",
      `The authorization server of ${url} issued no token (${grant}): ${cause}`,
      grant === "client_credentials"
        ? "check auth.client_id, auth.client_secret_env and auth.scope"
        : `run hone login ${url} again`,
    ),
  bad_address: (url: string) =>
    say("AUTH_BAD_ADDRESS", `Cannot log in to ${quote(url)}: expected the server's http or https address`),
  none_wanted: (url: string) => say("AUTH_NONE_WANTED", `${url} does not require a login: nothing was stored`),
  unreachable: (url: string, cause: string) =>
    say("AUTH_UNREACHABLE", `The authorization server of ${url} cannot be reached: ${cause}`),
};
