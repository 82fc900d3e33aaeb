/**
 * Properties of roles that are needed before a run: a judge's scale and whether it is decisive, a trainer's mode, and
 * whether an exporter still has the former `on` handler. To read them, a stage is created and immediately disposed;
 * `create` must not have side effects. A stage that cannot be created is reported when the run creates it.
 * @module
 */
import type { Kind, Plugin, Roles } from "../plugin.ts";

/** Properties of a stage's role; empty for other kinds. */
export interface DeclaredRole {
  scale?: Roles["judge"]["scale"];
  decisive?: boolean;
  /** True for a judge with a grader for hosted trainers. */
  has_grader?: boolean;
  mode?: Roles["trainer"]["mode"];
  /** True for an exporter with a handler for events, which only trackers receive. */
  listens?: boolean;
  /** Weight formats that an exporter asks for. */
  needs?: string[];
}

const CREATE_MS = 10_000;
const quiet = { debug: () => {}, info: () => {}, warn: () => {} };

const ASKED: Kind[] = ["judge", "trainer", "exporter"];

/** Reads the properties of a judge, a trainer or an exporter. */
export async function declaredRole(
  { plugin, with: config, stage, base_dir }: { plugin: Plugin; with: unknown; stage: string; base_dir: string },
): Promise<DeclaredRole> {
  if (!ASKED.includes(plugin.kind)) return {};
  try {
    const role = await plugin.create({ config, stage, log: quiet, signal: AbortSignal.timeout(CREATE_MS), base_dir });
    await role[Symbol.asyncDispose]?.();
    if ("open" in role) return { mode: role.mode };
    if ("export" in role) return { listens: "on" in role, needs: role.needs ?? [] };
    if (!("judge" in role)) return {};
    return { scale: role.scale, decisive: role.decisive, has_grader: role.toGrader !== undefined };
  } catch {
    return {};
  }
}
