/**
 * Access tokens for one server, shared by every session of this process: refreshed shortly before they expire or when
 * the server rejects them, once for all waiters (single flight, also between processes), stored privately. A rejection
 * that only a person can fix is remembered until something changes, so that a run does not flood the authorization
 * server.
 * @module
 */
import { auth, computeScopeUnion, extractWWWAuthenticateParams, OAuthError } from "@modelcontextprotocol/client";
import { bounded } from "../../common/bounded_body.ts";
import { findCause } from "../../common/causes.ts";
import { auth as say, HoneError, messageOf } from "../../diagnostics/mod.ts";
import { type Browser, type OAuthSettings, Provider } from "./oauth_provider.ts";
import { LoginStore } from "./oauth_store.ts";

export type { Browser, OAuthSettings } from "./oauth_provider.ts";

const REQUEST_MS = 30_000;
/** Metadata and tokens are far smaller. */
const MAX_BYTES = 1_000_000;
const TRIES = 3;
const WAIT_MS = 200;
/** Refreshed this long before expiry, or after four fifths of its lifetime if that is sooner. */
const EARLY_MS = 30_000;
const TRANSIENT: ReadonlySet<string> = new Set(["server_error", "temporarily_unavailable", "too_many_requests"]);

const shared = new Map<string, OAuth>();

/** The tokens of one server. */
export class OAuth {
  readonly #provider: Provider;
  #loaded: Promise<void> | undefined;
  #renewing: Promise<void> | undefined;
  #refused: { token: string | undefined; error: HoneError } | undefined;

  constructor(readonly url: string, settings: OAuthSettings, browser?: Browser) {
    this.#provider = new Provider(url, settings, storeOf(url, settings), browser);
  }

  /** The shared object for these settings in this process. */
  static shared(url: string, settings: OAuthSettings): OAuth {
    const key = JSON.stringify([url, settings]);
    const found = shared.get(key) ?? new OAuth(url, settings);
    shared.set(key, found);
    return found;
  }

  /** True where a person has logged in to this server. */
  static hasLogin(url: string): boolean {
    return storeOf(url, { grant: "refresh_token" }).exists;
  }

  /** The current access token, refreshed if it is about to expire; undefined if there is none yet. */
  async token(): Promise<string | undefined> {
    await (this.#loaded ??= this.#provider.load());
    const tokens = this.#provider.login.tokens;
    if (!tokens?.access_token) return undefined;
    const { expires_at, expires_in = 0, access_token } = tokens;
    if (expires_at === undefined || Date.now() < expires_at - Math.min(EARLY_MS, expires_in * 200)) return access_token;
    if (this.#provider.browser && !tokens.refresh_token) return access_token;
    try {
      await this.renew(access_token);
    } catch (error) {
      if (Date.now() >= expires_at) throw error;
    }
    return this.#provider.login.tokens?.access_token;
  }

  /**
   * Gets a new token in place of `used`, unless another caller already has. `refusal` is the server's 401 or 403: the
   * scopes that it requires are requested. Throws a HoneError if no token can be obtained.
   */
  async renew(used: string | undefined, refusal?: Response): Promise<void> {
    if (this.#current !== used) return;
    await (this.#renewing ??= this.#renew(used, refusal).finally(() => this.#renewing = undefined));
  }

  get #current(): string | undefined {
    return this.#provider.login.tokens?.access_token || undefined;
  }

  #renew(used: string | undefined, refusal?: Response): Promise<void> {
    return this.#provider.store.locked(async () => {
      await this.#provider.load();
      if (this.#current !== used) return;
      if (this.#refused && this.#refused.token === used && !this.#provider.browser) throw this.#refused.error;
      this.#refused = undefined;
      try {
        await this.#flow(refusal);
      } catch (error) {
        const told = this.#explain(error);
        if (told.code !== "AUTH_UNREACHABLE") this.#refused = { token: used, error: told };
        throw told;
      } finally {
        this.#provider.forget();
      }
    });
  }

  async #flow(refusal?: Response): Promise<void> {
    const challenge = refusal ? extractWWWAuthenticateParams(refusal) : {};
    const widen = refusal?.status === 403;
    const granted = widen ? this.#provider.login.tokens?.scope : undefined;
    const options = {
      serverUrl: this.url,
      scope: computeScopeUnion(this.#provider.settings.scope, granted, challenge.scope),
      resourceMetadataUrl: challenge.resourceMetadataUrl,
      forceReauthorization: widen,
      fetchFn: quietFetch,
    };
    for (let attempt = 1;; attempt++) {
      try {
        if (await auth(this.#provider, options) === "AUTHORIZED") return;
        break;
      } catch (error) {
        if (attempt === TRIES || !transient(error)) throw error;
        await new Promise((resolve) => setTimeout(resolve, WAIT_MS * 2 ** attempt));
      }
    }
    const { browser, address } = this.#provider;
    const answer = await browser!.visit(address!);
    if (!this.#provider.isOwnState(answer.get("state"))) throw new Error("the answer is not to what hone asked");
    const iss = answer.get("iss") ?? undefined;
    const authorizationCode = answer.get("code") ?? undefined;
    if (authorizationCode === undefined) {
      throw new Error([answer.get("error"), answer.get("error_description")].filter(Boolean).join(": ") || "no code");
    }
    await auth(this.#provider, { ...options, authorizationCode, iss });
  }

  #explain(error: unknown): HoneError {
    const told = findCause(error, HoneError);
    if (told) return told;
    const cause = messageOf(error);
    if (transient(error)) return new HoneError(say.unreachable(this.url, cause), { cause: error });
    const code = error instanceof OAuthError ? `${error.code}: ` : "";
    return new HoneError(say.refused(this.url, this.#provider.settings.grant, code + cause), { cause: error });
  }
}

function storeOf(url: string, { grant, client_id = "" }: Pick<OAuthSettings, "grant" | "client_id">): LoginStore {
  return new LoginStore(grant === "client_credentials" ? [url, grant, client_id] : [url]);
}

/** Never sends a secret to a redirect target, and limits the time and the size of an answer. */
const quietFetch = async (url: string | URL, init: RequestInit = {}): Promise<Response> => {
  const response = await fetch(url, {
    ...init,
    redirect: init.method === "POST" ? "error" : "follow",
    signal: AbortSignal.timeout(REQUEST_MS),
  });
  return bounded(response, MAX_BYTES);
};

function transient(error: unknown): boolean {
  if (error instanceof OAuthError) return TRANSIENT.has(error.code);
  return error instanceof TypeError || (error instanceof DOMException && error.name === "TimeoutError");
}
