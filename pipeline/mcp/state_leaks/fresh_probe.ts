/**
 * Whether fresh environments are identical. Before an agent acts, the judges' observing calls are made and their
 * results compared with those in an earlier fresh environment, if something was written in between: a server whose
 * results differ leaks state between rollouts. Folders, times and ids are ignored.
 * @module
 */
import type { CallSpec, Scenario } from "../../events.ts";
import type { CallResult, Environment } from "../../plugin.ts";

/** An observing call whose answer in a fresh environment changed. */
export interface Difference {
  server: string;
  tool: string;
  before: string;
  now: string;
}

const MAX_LOOKS = 64;
const VARYING = [
  /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi,
  /\b(mon|tue|wed|thu|fri|sat|sun)[a-z]*\b|\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b/gi,
  /\d+([-:.,+/ TZ]*\d+)*/g,
];

/** Compares fresh environments, each server on its own; finds at most one difference a server. */
export class FreshProbe {
  /** By setup and call: the answer, and how much had been written then; null where it changes by itself. */
  #known = new Map<string, { answer: CallResult; shape: string; writes: number } | null>();
  #writes = new Map<string, number>();
  #looks = new Map<string, number>();
  #found = new Set<string>();

  /** Notes that a tool which may change things was called on a server. */
  wrote(server: string): void {
    this.#writes.set(server, (this.#writes.get(server) ?? 0) + 1);
  }

  /** Looks at a fresh environment; `serverOf` names the server of a call where it is to be compared. */
  async look(
    environment: Pick<Environment, "observe"> & { root: string },
    { setup, calls }: Pick<Scenario, "setup"> & { calls: CallSpec[] },
    serverOf: (call: { tool: string; server?: string }) => string | undefined,
  ): Promise<Difference[]> {
    const differences: Difference[] = [];
    for (const call of calls) {
      const server = serverOf(call);
      if (server === undefined || this.#found.has(server)) continue;
      const key = JSON.stringify([server, call, setup ?? null]);
      const known = this.#known.get(key);
      const writes = this.#writes.get(server) ?? 0;
      const looks = this.#looks.get(server) ?? 0;
      if (known === null || known?.writes === writes || looks >= MAX_LOOKS) continue;
      this.#looks.set(server, looks + 1);
      const answer = await environment.observe(call);
      const seen = shape(answer, environment.root);
      if (known && known.shape !== seen && !this.#found.has(server)) {
        this.#found.add(server);
        differences.push({ server, tool: call.tool, before: known.answer.text, now: answer.text });
      }
      const steady = known !== undefined || shape(await environment.observe(call), environment.root) === seen;
      this.#known.set(key, steady ? { answer, shape: seen, writes } : null);
    }
    return differences;
  }
}

function shape({ outcome, text }: CallResult, root: string): string {
  const placed = text.replaceAll(root, "");
  return `${outcome} ${VARYING.reduce((left, pattern) => left.replace(pattern, "#"), placed)}`;
}
