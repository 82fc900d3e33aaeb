/**
 * Digests of all that a judgement or a reward depends on besides the rollout: the definitions of its stages, and the
 * scenario. They are recorded with it, so that a resumed run makes again what a changed stage or scenario would make
 * differently. A plugin's file belongs to its definition, and so do the files that a command in its settings names, but not
 * what a plugin's file imports.
 * @module
 */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { digest } from "../common/digest.ts";
import { readText } from "../common/read_text.ts";
import type { LoadedStage } from "../config/pipeline_file.ts";
import { filesOfCommand, programFields } from "../config/programs.ts";
import type { Scenario } from "../events.ts";
import type { Run, StagedJudge } from "./context.ts";

/** Of a plugin's file, which may be a compiled program. */
const MAX_PROGRAM_BYTES = 256_000_000;

/** Digest of a stage's plugin and settings. */
export async function definitionOf({ use, plugin, with: settings }: LoadedStage, base_dir: string): Promise<string> {
  const path = use.startsWith("file:") ? fileURLToPath(use) : resolve(base_dir, use.replace(/^exec:/, ""));
  // The name of a built-in or of a package names no file.
  const source = await readText(path, MAX_PROGRAM_BYTES).catch(() => null);
  const commands = programFields(plugin.config, settings).map(([, value]) => value).filter(Array.isArray);
  const files = await Promise.all(commands.map((command) => filesOfCommand(command, base_dir)));
  const hashes = files.flat().map(({ sha256 }) => sha256);
  return digest([use, settings ?? null, source, ...(hashes.length > 0 ? [hashes] : [])]);
}

/** What a judge's judgements on a scenario depend on; undefined for a judge without a definition. */
export function judgementMaker(
  { definition }: Pick<StagedJudge, "definition">,
  scenario: Scenario,
): string | undefined {
  const { tools: _, ...judged } = scenario;
  return definition && digest([definition, judged]);
}

/** What rewards of rollouts of a scenario depend on. */
export function rewardMaker(
  { roles: { judges, shaper }, config }: Pick<Run, "roles" | "config">,
  scenario: Scenario,
): string | undefined {
  const makers = judges.map((judge) => [judge.id, judgementMaker(judge, scenario) ?? null]);
  return shaper.definition && digest([shaper.definition, config.evaluate.success_at, makers]);
}
