/**
 * What roles say of themselves before a run: a judge its scale and whether it decides, a trainer how it trains, an exporter
 * whether it was written for a time when exporters were told of events. For that, a stage is created and disposed at once; `create` touches nothing. One that cannot be created says so when the run does it.
 * @module
 */
import type { Kind, Plugin, Roles } from "../plugin.ts";

/** What is known of a stage's role; nothing of other kinds. */
export interface DeclaredRole {
  scale?: Roles["judge"]["scale"];
  decisive?: boolean;
  /** A judge that hosted trainers can use. */
  has_grader?: boolean;
  mode?: Roles["trainer"]["mode"];
  /** An exporter that wants events, which trackers are told. */
  listens?: boolean;
}

const CREATE_MS = 10_000;
const quiet = { debug: () => {}, info: () => {}, warn: () => {} };

const ASKED: Kind[] = ["judge", "trainer", "exporter"];

/** Asks a judge, a trainer or an exporter. */
export async function declaredRole(
  { plugin, with: config, stage, base_dir }: { plugin: Plugin; with: unknown; stage: string; base_dir: string },
): Promise<DeclaredRole> {
  if (!ASKED.includes(plugin.kind)) return {};
  try {
    const role = await plugin.create({ config, stage, log: quiet, signal: AbortSignal.timeout(CREATE_MS), base_dir });
    await role[Symbol.asyncDispose]?.();
    if ("open" in role) return { mode: role.mode };
    if ("export" in role) return { listens: "on" in role };
    if (!("judge" in role)) return {};
    return { scale: role.scale, decisive: role.decisive, has_grader: role.toGrader !== undefined };
  } catch {
    return {};
  }
}
