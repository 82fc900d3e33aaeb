/**
 * What roles say of themselves before a run: a judge its scale and whether it decides, a trainer how it trains. For that, a
 * stage is created and disposed at once; `create` touches nothing. One that cannot be created says so when the run does it.
 * @module
 */
import type { Plugin, Roles } from "../plugin.ts";

/** What is known of a stage's role; nothing of other kinds. */
export interface DeclaredRole {
  scale?: Roles["judge"]["scale"];
  decisive?: boolean;
  /** A judge that hosted trainers can use. */
  has_grader?: boolean;
  mode?: Roles["trainer"]["mode"];
}

const CREATE_MS = 10_000;
const quiet = { debug: () => {}, info: () => {}, warn: () => {} };

/** Asks a judge or a trainer. */
export async function declaredRole(
  { plugin, with: config, stage, base_dir }: { plugin: Plugin; with: unknown; stage: string; base_dir: string },
): Promise<DeclaredRole> {
  if (plugin.kind !== "judge" && plugin.kind !== "trainer") return {};
  try {
    const role = await plugin.create({ config, stage, log: quiet, signal: AbortSignal.timeout(CREATE_MS), base_dir });
    await role[Symbol.asyncDispose]?.();
    if ("open" in role) return { mode: role.mode };
    if (!("judge" in role)) return {};
    return { scale: role.scale, decisive: role.decisive, has_grader: role.toGrader !== undefined };
  } catch {
    return {};
  }
}
