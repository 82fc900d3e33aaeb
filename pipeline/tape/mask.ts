/**
 * Masks what a tape must not contain: secrets become `[redacted]`, the rollout's own folder becomes `${workdir}`, the
 * run's becomes `${run_dir}`. Requests are masked in the same way before they are looked up.
 * @module
 */
import { realpathSync } from "node:fs";
import { dirname } from "node:path";
import type { PipelineConfig } from "../config/pipeline_schema.ts";
import type { Json } from "../events.ts";
import { mapTexts, redact } from "../common/redact.ts";

const MIN_SECRET = 8;

/** Masks texts of one run. */
export class Mask {
  readonly #secrets: string[];
  readonly #run: [string, string][];
  readonly #by_workdir = new Map<string, [string, string][]>();

  constructor(config: PipelineConfig, run_dir: string) {
    this.#secrets = secretsOf(config);
    this.#run = both(run_dir, "${run_dir}");
  }

  /** The value with every text and key masked; `workdirs` is that of the rollout, where it has one, or of several. */
  hide<T extends Json>(value: T, workdirs: string | null | ReadonlySet<string> = null): T {
    const known = typeof workdirs === "string" ? [workdirs] : [...workdirs ?? []];
    const own = known.flatMap((workdir) => this.#own(workdir));
    const paths = [...known.length > 1 ? longestFirst(own) : own, ...this.#run];
    const text = (whole: string) => {
      let clean = whole;
      for (const [path, name] of paths) clean = clean.replaceAll(path, name);
      for (const secret of this.#secrets) clean = clean.replaceAll(secret, "[redacted]");
      return redact(clean);
    };
    return mapTexts(value, text) as T;
  }

  #own(workdir: string): [string, string][] {
    const known = this.#by_workdir.get(workdir);
    if (known) return known;
    // Beside `work`, a slot has folders of its own, under a number that another run would not repeat.
    const own = [...both(workdir, "${workdir}"), ...both(dirname(workdir), "${workdir}/..")];
    this.#by_workdir.set(workdir, own);
    return own;
  }
}

/** The value with one text replaced by another, everywhere. */
export function replaced<T extends Json>(value: T, from: string, to: string): T {
  return mapTexts(value, (text) => text.replaceAll(from, to)) as T;
}

/** A path and, where it leads through links, the path behind them. */
function both(path: string, name: string): [string, string][] {
  const paths = new Set([path]);
  try {
    paths.add(realpathSync(path));
  } catch {
    // not there (yet): nothing can name what is behind it
  }
  return longestFirst([...paths].map((one) => [one, name]));
}

/** Of a path that begins as another does, the end would be left. */
function longestFirst(paths: [string, string][]): [string, string][] {
  return paths.toSorted(([a], [b]) => b.length - a.length);
}

/** Values that the pipeline hands to servers and endpoints: variables, headers, keys, passwords in addresses. */
function secretsOf({ servers, agent }: PipelineConfig): string[] {
  const values = Object.values(servers).flatMap((server) =>
    "command" in server
      ? Object.values(server.env)
      : [...Object.values(server.headers), named(server.bearer_env), ...credentials(server.url)]
  );
  const { endpoint } = agent;
  if (endpoint) {
    values.push(...Object.values(endpoint.headers), named(endpoint.api_key_env), ...credentials(endpoint.base_url));
  }
  const bare = values.map((value) => value.replace(/^(Bearer|Basic)\s+/i, ""));
  return bare.filter((value) => value.length >= MIN_SECRET && !value.includes("${workdir}"))
    .sort((a, b) => b.length - a.length);
}

function named(variable: string | undefined): string {
  return variable === undefined ? "" : Deno.env.get(variable) ?? "";
}

function credentials(address: string): string[] {
  const { password, searchParams } = new URL(address);
  return [decodeURIComponent(password), ...searchParams.values()];
}
