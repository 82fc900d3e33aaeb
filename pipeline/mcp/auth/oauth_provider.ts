/**
 * hone's side of the SDK's OAuth flows, for one server: the client, the token store, and the grant. With a browser it
 * is the authorization code flow with PKCE; without one, a refresh token or client credentials. A refresh token is sent
 * only to its issuer.
 * @module
 */
import {
  createPrivateKeyJwtAuth,
  type OAuthClientInformationContext,
  type OAuthClientMetadata,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
} from "@modelcontextprotocol/client";
import { auth as say, HoneError } from "../../diagnostics/mod.ts";
import { protect } from "../../common/redact.ts";
import { hashOf, type Login, type LoginStore } from "./oauth_store.ts";

/** Settings for obtaining tokens, with secrets filled in. */
export interface OAuthSettings {
  grant: "refresh_token" | "client_credentials";
  client_id?: string;
  client_secret?: string;
  /** PEM (PKCS 8) of the key that signs the client's assertions. */
  private_key?: string;
  key_algorithm: string;
  /** The initial refresh token, if there was no login. */
  refresh_token?: string;
  scope?: string;
  /** The only authorization server that may receive the client's secrets. */
  issuer?: string;
}

/** Shows an address to a person and waits for the request to `redirect_url`. */
export interface Browser {
  redirect_url: string;
  visit(address: URL): Promise<URLSearchParams>;
}

/** The SDK's provider over a stored login. `login` is what was last read or written. */
export class Provider implements OAuthClientProvider {
  login: Login = {};
  /** The address that the browser was sent to, if any. */
  address: URL | undefined;
  readonly addClientAuthentication: OAuthClientProvider["addClientAuthentication"];
  #issuer = "";
  #verifier = "";
  #discovery: OAuthDiscoveryState | undefined;
  #state = "";
  #refusal: string | undefined;

  constructor(
    readonly url: string,
    readonly settings: OAuthSettings,
    readonly store: LoginStore,
    readonly browser?: Browser,
  ) {
    const { private_key, client_id, key_algorithm: alg, client_secret, refresh_token } = settings;
    protect([private_key, client_secret, refresh_token].filter((secret) => secret !== undefined));
    if (private_key === undefined || client_id === undefined) return;
    this.addClientAuthentication = createPrivateKeyJwtAuth({
      issuer: client_id,
      subject: client_id,
      privateKey: private_key,
      alg,
    });
  }

  /** Reads the store; a new refresh token from the user replaces the stored one. */
  async load(): Promise<void> {
    const { refresh_token } = this.settings;
    const stored = await this.store.read();
    const seed = refresh_token === undefined ? undefined : hashOf(refresh_token);
    const fresh = seed !== undefined && stored.seed !== seed;
    this.login = fresh ? { seed, tokens: { access_token: "", token_type: "Bearer", refresh_token } } : stored;
    this.#protect();
  }

  get redirectUrl(): string | undefined {
    return this.browser?.redirect_url;
  }

  get clientMetadata(): OAuthClientMetadata {
    const { scope } = this.settings;
    return {
      client_name: "hone",
      redirect_uris: this.browser ? [this.browser.redirect_url] : [],
      ...(this.browser && { grant_types: ["authorization_code", "refresh_token"], response_types: ["code"] }),
      ...(scope !== undefined && { scope }),
    };
  }

  clientInformation(ctx?: OAuthClientInformationContext): StoredOAuthClientInformation | undefined {
    this.#issuer = ctx?.issuer ?? this.#issuer;
    const { issuer, client_id, client_secret } = this.settings;
    if (issuer !== undefined && !sameIssuer(issuer, this.#issuer)) {
      throw new HoneError(say.other_issuer(this.url, this.#issuer, issuer));
    }
    if (client_id !== undefined) {
      return { client_id, issuer: this.#issuer, ...(client_secret !== undefined && { client_secret }) };
    }
    if (!this.login.client && !this.browser) throw new HoneError(say.no_client(this.url));
    return this.login.client;
  }

  async saveClientInformation(client: StoredOAuthClientInformation): Promise<void> {
    if (this.settings.client_id !== undefined) return;
    this.login = { ...this.login, client };
    await this.#save();
  }

  tokens(): StoredOAuthTokens | undefined {
    return this.login.tokens;
  }

  async saveTokens(given: StoredOAuthTokens): Promise<void> {
    const { expires_at: _, ...tokens } = given as NonNullable<Login["tokens"]>;
    const expires_at = tokens.expires_in === undefined ? undefined : Date.now() + tokens.expires_in * 1000;
    const refresh_token = tokens.refresh_token ?? this.login.tokens?.refresh_token;
    this.login = {
      ...this.login,
      tokens: { ...tokens, ...(refresh_token && { refresh_token }), ...(expires_at && { expires_at }) },
    };
    await this.#save();
  }

  prepareTokenRequest(scope?: string): URLSearchParams | undefined {
    if (this.browser) return undefined;
    const { grant } = this.settings;
    if (this.#refusal) throw new HoneError(say.refused(this.url, grant, this.#refusal));
    if (grant === "client_credentials") {
      return new URLSearchParams({ grant_type: grant, ...(scope !== undefined && { scope }) });
    }
    const { refresh_token, issuer } = this.login.tokens ?? {};
    if (!refresh_token) throw new HoneError(say.login_needed(this.url));
    if (issuer && !sameIssuer(issuer, this.#issuer)) {
      throw new HoneError(say.other_issuer(this.url, this.#issuer, issuer));
    }
    return new URLSearchParams({ grant_type: grant, refresh_token });
  }

  state(): string {
    return this.#state = crypto.randomUUID();
  }

  /** True if the browser's response belongs to this request. */
  isOwnState(state: string | null): boolean {
    return state === null ? false : state === this.#state;
  }

  redirectToAuthorization(address: URL): void {
    this.address = address;
  }

  saveCodeVerifier(verifier: string): void {
    this.#verifier = verifier;
  }

  codeVerifier(): string {
    return this.#verifier;
  }

  saveDiscoveryState(state: OAuthDiscoveryState): void {
    this.#discovery = state;
  }

  discoveryState(): OAuthDiscoveryState | undefined {
    return this.#discovery;
  }

  /** A person can log in again; a run cannot, and does not retry with rejected credentials. */
  async invalidateCredentials(what: "all" | "client" | "tokens" | "verifier" | "discovery"): Promise<void> {
    if (!this.browser) {
      this.#refusal = what === "tokens"
        ? "invalid_grant: what it was given is not good, or not any more"
        : "invalid_client: it does not know this client, or not this secret";
      return;
    }
    if (what !== "tokens" && what !== "all" && what !== "client") return;
    const { tokens: _, client, ...rest } = this.login;
    this.login = what === "tokens" ? { ...rest, ...(client && { client }) } : rest;
    await this.#save();
  }

  /** Discovered server metadata is not reused by the next flow. */
  forget(): void {
    this.#discovery = undefined;
    this.address = undefined;
    this.#refusal = undefined;
    this.#verifier = this.#state = "";
  }

  #protect(): void {
    const { access_token, refresh_token } = this.login.tokens ?? {};
    const secrets = [access_token, refresh_token, this.login.client?.client_secret];
    protect(secrets.filter((secret) => typeof secret === "string"));
  }

  async #save(): Promise<void> {
    this.#protect();
    await this.store.write(this.login);
  }
}

function sameIssuer(a: string, b: string): boolean {
  return a.replace(/\/$/, "") === b.replace(/\/$/, "");
}
