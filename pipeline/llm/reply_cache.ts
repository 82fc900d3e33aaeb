/**
 * Replies that any run may reuse, by the key of their request: one private file each (0600, in a folder 0700), written
 * to a temporary file and renamed. Contains replies, not requests. Unreadable files are treated as missing; write
 * errors are logged once and do not fail a request.
 * @module
 */
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { llm as say, messageOf } from "../diagnostics/mod.ts";
import type { Json } from "../events.ts";
import type { LlmReply, Log } from "../plugin.ts";

const cached_reply = z.object({
  version: z.literal(1),
  text: z.string(),
  json: z.custom<Json>((value) => value !== undefined).optional(),
  model: z.string(),
  prompt_tokens: z.number(),
  output_tokens: z.number(),
});

/** The replies below a cache folder. */
export class ReplyCache {
  readonly folder: string;
  #told = false;

  constructor(cache_dir: string, private readonly log: Pick<Log, "warn"> | undefined) {
    this.folder = join(cache_dir, "llm");
  }

  /** The reply to the request with this key, or undefined. */
  async read(key: string): Promise<LlmReply | undefined> {
    try {
      const { version: _, ...reply } = cached_reply.parse(JSON.parse(await readFile(this.#file(key), "utf8")));
      return { ...reply, seconds: 0, cached: true };
    } catch {
      return undefined;
    }
  }

  /** Stores a reply. Never throws. */
  async write(key: string, { text, json, model, prompt_tokens, output_tokens }: LlmReply): Promise<void> {
    const part = `${this.#file(key)}.${crypto.randomUUID()}`;
    const kept = { version: 1, text, ...(json !== undefined && { json }), model, prompt_tokens, output_tokens };
    try {
      await mkdir(this.folder, { recursive: true, mode: 0o700 });
      await chmod(this.folder, 0o700);
      await writeFile(part, JSON.stringify(kept), { mode: 0o600 });
      await rename(part, this.#file(key));
    } catch (error) {
      await rm(part, { force: true }).catch(() => {});
      if (!this.#told) this.log?.warn(say.cache_unusable(this.folder, messageOf(error)).message);
      this.#told = true;
    }
  }

  #file(key: string): string {
    return join(this.folder, `${key}.json`);
  }
}
