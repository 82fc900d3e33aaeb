/** verdict.made → each exporter not finished by an earlier start, to its own folder → export.completed. @module */
import { join } from "node:path";
import { HoneError, runner as messages } from "../../diagnostics/mod.ts";
import type { EventMap } from "../../events.ts";
import type { ExportArgs, Roles } from "../../plugin.ts";
import { OpenFolder } from "../../common/open_folder.ts";
import { recordedPath } from "../../store/run_folder.ts";
import type { Bound } from "../bindings.ts";
import { agentOf, checkpointOf, type Run, type Staged } from "../context.ts";

/** Binds every exporter. */
export function bind(run: Run): Bound[] {
  return run.roles.exporters.map((exporter) => ({
    stage: exporter.id,
    on: {
      "verdict.made": async ({ data }, { publish, deliver }) => {
        const done = run.recorded.exports.get(exporter.id);
        if (done) return await deliver("export.completed", done, true);
        run.progress.begin("export", 0);
        removeLinks(run.run_dir, exporter.id);
        const { dir, proof } = await exporter.role.export(exportArgs(run, exporter, data));
        await publish("export.completed", { exporter: exporter.id, dir: recordedPath(run.run_dir, dir), proof });
      },
    },
  }));
}

/** Removes links where the exporter is to write: a server may have put them there. Throws if its folder is one. */
function removeLinks(run_dir: string, id: string): void {
  using outer = OpenFolder.open(run_dir);
  if (!outer.entries().some(({ name }) => name === id)) return;
  using inner = outer.folder(id);
  for (const { name, kind } of inner.entries()) if (kind === "link") inner.remove(name);
}

function exportArgs(
  run: Run,
  { id }: Staged<Roles["exporter"]>,
  { policy: name, checkpoint }: EventMap["verdict.made"],
): ExportArgs {
  const { online, hosted, catalog, signal } = run;
  const from = checkpoint ? { checkpoint: checkpointOf(run, checkpoint) } : {};
  return {
    dir: join(run.run_dir, id),
    policy: run.policies.get(name)!,
    agent: agentOf(run, name),
    catalog,
    verdict: structuredClone(run.verdict!),
    model: (online ?? hosted)!.model,
    weights: async ({ format, dir }) => {
      if (!online) throw new HoneError(messages.no_weights(id, format));
      return await online.weights({ format, dir, ...from });
    },
    signal,
  };
}
