/**
 * What the run offers to its scenario sources: environments leased from the run's own pool (or tape), trials, language
 * models. Isolation and the rule on writes are those of rollouts, because the leases are.
 * @module
 */
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { cacheDir } from "../common/cache_dir.ts";
import { digest } from "../common/digest.ts";
import { readTree } from "../common/folder_tree.ts";
import { Semaphore } from "../common/semaphore.ts";
import { writeAside } from "../common/write_aside.ts";
import type { Json } from "../events.ts";
import type { SourceTools } from "../plugin.ts";
import { recordedScenarios } from "../store/recorded.ts";
import { SCENARIOS_FOLDER } from "../store/run_folder.ts";
import type { Run } from "./context.ts";
import { trial } from "./trial.ts";

/** Of a fixture, for its digest. */
const FIXTURE_LIMITS = { max_files: 100_000, max_file_bytes: 4096 };

/** Makes the tools of a source, given the id of its stage and the event that it handles; all share one limit. */
export function sourceTools(run: Run): (stage: string, cause: number | undefined) => Promise<SourceTools> {
  const places = new Semaphore(run.config.train.concurrency);
  let world: Promise<string> | undefined;
  return async (stage, cause) => ({
    seed: run.config.seed,
    recorded: run.resumed ? await recordedScenarios(run.store, stage) : null,
    world: () => world ??= worldOf(run),
    lease: leases(run, stage, places),
    trial: (scenario, options) => places.use(() => trial(run, scenario, options), options.signal ?? run.signal),
    cache_dir: join(cacheDir(), "generated"),
    llm: run.llm(stage, run.signal, cause),
    signal: run.signal,
    progress: (message) => run.progress.say(message),
    save: (name, text) => save(join(run.run_dir, SCENARIOS_FOLDER, plainName(stage)), plainName(name), text),
  });
}

/** Leases one environment after another, each under an id of its own. */
function leases({ environments, catalog, signal }: Run, stage: string, places: Semaphore): SourceTools["lease"] {
  let count = 0;
  return async (given = {}) => {
    const rollout_id = `${stage}-probe-${++count}`;
    const scenario = { id: rollout_id, task: "", split: "train" as const, tags: [], checks: [], ...given };
    const taken = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const place = places.use(() => (taken.resolve(), released.promise), signal);
    place.catch(taken.reject);
    await taken.promise;
    try {
      const lease = await environments.lease({ rollout_id, scenario, catalog, signal });
      return Object.assign(lease, {
        [Symbol.asyncDispose]: async () => {
          await lease.release();
          released.resolve();
        },
      });
    } catch (error) {
      released.resolve();
      throw error;
    }
  };
}

/** See `SourceTools.world`. */
async function worldOf({ config, base_dir, roles }: Run): Promise<string> {
  const fixtures = Object.values(config.servers).flatMap(({ fixture }) => fixture ? [resolve(base_dir, fixture)] : []);
  const trees = await Promise.all(fixtures.map(async (fixture) => (await readTree(fixture, FIXTURE_LIMITS)).tree));
  const judges = roles.judges.map(({ id, use, definition = null }) => [id, use, definition]);
  const { servers, allow_writes, evaluate: { success_at } } = config;
  return digest([servers, allow_writes, success_at, judges, trees] as unknown as Json);
}

async function save(dir: string, name: string, text: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  await writeAside(join(dir, name), text);
}

/** Stage ids, and the names that a source chooses, are no paths. */
function plainName(name: string): string {
  return name.replaceAll(/[^\w.-]/g, "_").replace(/^\.+/, "_");
}
