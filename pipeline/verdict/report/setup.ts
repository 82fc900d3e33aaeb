/**
 * What a run ran with: servers, machine, learning settings, demonstrations. From its records, and from the pipeline.yaml
 * in its folder, which hone wrote with all defaults; whatever that lacks is left out.
 * @module
 */
import { basename, isAbsolute, join } from "node:path";
import { readText } from "../../common/read_text.ts";
import { Source } from "../../config/source.ts";
import type { Machine } from "../../events.ts";
import type { Queryable } from "../verdict_types.ts";
import type { Setup } from "./report_types.ts";

type Fields = Record<string, unknown>;

/** The settings of a run as its folder has them; null if they cannot be read. */
export async function runSettings(run_dir: string): Promise<Fields | null> {
  const path = join(run_dir, "pipeline.yaml");
  try {
    const source = new Source(await readText(path), path);
    return source.syntax().length === 0 ? fields(source.raw) : null;
  } catch {
    return null;
  }
}

/** The number of policy versions that a rollout may be old when it trains. */
export function maxStaleness(settings: Fields | null): number {
  return Number(fields(settings?.train)?.max_staleness ?? 0);
}

/** Gathers it. */
export async function gatherSetup(store: Queryable, settings: Fields | null): Promise<Setup> {
  const servers = await store.query(
    "SELECT DISTINCT ON (server) server, transport, protocol, implementation FROM servers ORDER BY server, seq DESC",
  );
  const [found] = await store.query(`SELECT
    (SELECT arg_max(machine, seq) FROM run_starts) AS machine,
    (SELECT count(*) FROM rollouts JOIN rewards USING (rollout_id) WHERE purpose = 'demonstration' AND success) AS shown`);
  return {
    servers: servers.map(({ server, transport, protocol, implementation }) => {
      const { name, version } = parsed(implementation) ?? {};
      const known = { implementation: String(name ?? ""), version: String(version ?? "") };
      return { name: String(server), ...known, transport: String(transport), protocol: String(protocol) };
    }),
    machine: parsed(found?.machine) as Machine | null,
    settings: settings ? settingRows(settings) : [],
    demonstrations: Number(found?.shown ?? 0),
  };
}

function settingRows(settings: Fields): [string, string][] {
  const { agent, train, warm_start, evaluate } = Object.fromEntries(
    ["agent", "train", "warm_start", "evaluate"].map((name) => [name, fields(settings[name]) ?? {}]),
  ) as Record<string, Fields>;
  const stages = list(settings.stages).map((stage) => fields(stage) ?? {});
  const uses = stages.map(({ use }) => String(use));
  const trainer = stages.find(({ use }) => String(use).startsWith("trainer/"));
  const { lora, optimizer } = (fields(trainer?.with) ?? {}) as Fields;
  const ladder = list(settings.ladder).map(String);
  const of = (name: string) => uses.filter((use) => use.startsWith(`${name}/`)).join(", ");
  const rows: [string, unknown][] = [
    ["model", settings.model],
    ["agent", agent],
    ["judges", of("judge")],
    ["reward shaper", of("reward-shaper")],
    ["trainer", trainer?.use],
    ["LoRA", trainer && lora],
    ["optimizer", trainer && optimizer],
    ["ladder", ladder.join(", ")],
    ["warm start", ladder.includes("warm_start") && warm_start],
    ["RL", ladder.includes("rl") && train],
    ["evaluation", evaluate],
  ];
  return rows.flatMap(([name, value]): [string, string][] => {
    const text = inWords(value);
    return text ? [[name, text]] : [];
  });
}

/** Of an absolute path, its last name: reports are passed on. */
function withoutFolders(text: string): string {
  return isAbsolute(text) ? basename(text) : text;
}

/** What a report does not repeat: long texts, and what may name people, keys or folders. */
const LEFT_OUT = new Set(["system_prompt", "examples", "endpoint", "models", "prompt", "headers", "body"]);

/** A setting on one line: `lr 0.001, decay linear`. */
function inWords(value: unknown): string {
  if (value === undefined || value === null || value === false || value === "") return "";
  if (Array.isArray(value)) return value.map(inWords).filter(Boolean).join(" ");
  const entries = fields(value);
  if (!entries) return withoutFolders(String(value));
  return Object.entries(entries).flatMap(([name, inner]) => {
    if (LEFT_OUT.has(name)) return [];
    const nested = fields(inner);
    const text = nested ? `(${inWords(nested)})` : inner === false ? "no" : inner === true ? "yes" : inWords(inner);
    return text && text !== "()" ? [`${name.replaceAll("_", " ")} ${text}`] : [];
  }).join(", ");
}

function fields(value: unknown): Fields | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Fields : null;
}

function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function parsed(value: unknown): Fields | null {
  return typeof value === "string" ? fields(JSON.parse(value)) : fields(value);
}
