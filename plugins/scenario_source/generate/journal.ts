/**
 * What generating has found so far, in hone's cache: one private file (0600) per catalog, servers, judges, settings and
 * seed. Each line is on disk before the next piece of work, so that a stopped run goes on where it was and a finished
 * one calls nothing again. An unreadable line counts as missing.
 * @module
 */
import { chmod, mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { type Json, type JsonObject, readText } from "@hone/hone";

/** Finished work by key. */
export class Journal {
  readonly #known = new Map<string, Json>();
  readonly #path: string;
  #last: Promise<void> = Promise.resolve();

  private constructor(private readonly folder: string, key: string) {
    this.#path = join(folder, `${key}.jsonl`);
  }

  /** Opens the journal with this key, a digest, in a folder of the cache. */
  static async open(folder: string, key: string): Promise<Journal> {
    const journal = new Journal(folder, key);
    const text = await readText(journal.#path).catch(() => "");
    for (const line of text.split("\n")) journal.#read(line);
    return journal;
  }

  /** The result of earlier work with this key, or that of `work`, which is then recorded. */
  async once<T extends Json>(key: string, work: () => Promise<T>): Promise<T> {
    const known = this.#known.get(key);
    if (known !== undefined) return known as T;
    const made = await work();
    this.#known.set(key, made);
    await (this.#last = this.#last.then(() => this.#append({ key, made })));
    return made;
  }

  #read(line: string): void {
    try {
      const { key, made } = JSON.parse(line) as JsonObject;
      if (typeof key === "string" && made !== undefined) this.#known.set(key, made);
    } catch {
      // The last line of a run that was killed.
    }
  }

  async #append(entry: JsonObject): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    await chmod(this.folder, 0o700);
    const file = await open(this.#path, "a", 0o600);
    try {
      // Begins with a newline: the line before may be half a one.
      await file.writeFile(`\n${JSON.stringify(entry)}`);
      await file.datasync();
    } finally {
      await file.close();
    }
  }
}
