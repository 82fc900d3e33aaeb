/**
 * Stored logins: one private file (0600, in a folder 0700) per server in hone's cache, written atomically. A lock file
 * next to it serializes processes that share a login.
 * @module
 */
import type { StoredOAuthClientInformation, StoredOAuthTokens } from "@modelcontextprotocol/client";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheDir } from "../../common/cache_dir.ts";

/** Tokens, when the access token ends (milliseconds since 1970), and the client that they were given to. */
export interface Login {
  tokens?: StoredOAuthTokens & { expires_at?: number };
  client?: StoredOAuthClientInformation;
  /** Hash of the refresh token that the user gave; another one replaces what is stored. */
  seed?: string;
}

/** The file of one login. `key` names server, grant and client; nothing of it is readable in the file's name. */
export class LoginStore {
  readonly path: string;
  readonly #folder = join(cacheDir(), "logins");

  constructor(key: string[]) {
    this.path = join(this.#folder, `${hashOf(JSON.stringify(key)).slice(0, 32)}.json`);
  }

  get exists(): boolean {
    return existsSync(this.path);
  }

  /** An empty login where nothing is stored, or nothing that can be read. */
  async read(): Promise<Login> {
    try {
      const login: unknown = JSON.parse(await readFile(this.path, "utf8"));
      return typeof login === "object" && login !== null ? login : {};
    } catch {
      return {};
    }
  }

  async write(login: Login): Promise<void> {
    await this.#prepare();
    const part = `${this.path}.${crypto.randomUUID()}`;
    await writeFile(part, JSON.stringify(login), { mode: 0o600, flush: true });
    await rename(part, this.path);
  }

  /** Runs `work` while no other process does so for this login. */
  async locked<T>(work: () => Promise<T>): Promise<T> {
    await this.#prepare();
    using file = await Deno.open(`${this.path}.lock`, { create: true, write: true, mode: 0o600 });
    await file.lock(true);
    return await work();
  }

  async #prepare(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    await chmod(this.#folder, 0o700);
  }
}

/** A SHA-256 in hexadecimal. */
export function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
