/**
 * run.started → discoverer → catalog.discovered. A run whose servers' tools have changed since it started is not
 * resumed unless the changes are accepted.
 * @module
 */
import { HoneError, runner as messages } from "../../diagnostics/mod.ts";
import type { Catalog } from "../../events.ts";
import { describeDrift } from "../../mcp/catalog/drift.ts";
import type { Out } from "../../bus.ts";
import type { Bound } from "../bindings.ts";
import type { Run } from "../context.ts";
import { warnLines } from "../progress/run_log.ts";

/** Binds the discoverer. */
export function bind(run: Run): Bound[] {
  return [{
    stage: run.roles.discoverer?.id ?? "discoverer",
    on: { "run.started": (_, out) => discover(run, out) },
  }];
}

async function discover(run: Run, { publish, deliver }: Out) {
  const servers = Object.entries(run.config.servers).map(([name, server]) => ({ name, ...server }));
  const role = servers.length > 0 ? run.roles.discoverer?.role : undefined;
  run.progress.begin("discover", servers.length);
  const connect = ({ name }: { name: string }) => run.environments.discover(name);
  run.catalog = await role?.discover(servers, connect) ?? { servers: [], tools: [], schema_hash: "" };
  const before = run.recorded.catalog;
  if (before) await compare(run, before, publish);
  if (run.trained_with) await note(run, run.trained_with, publish);
  await deliver("catalog.discovered", run.catalog, before !== null);
}

/** Fails, or records how the servers differ from those that the run started with. */
async function compare(run: Run, before: Catalog, publish: Out["publish"]) {
  const { catalog } = run;
  const changes = describeDrift(before, catalog);
  if (changes.length === 0) return;
  if (!run.accept_changes) throw new HoneError(messages.catalog_changed(changes));
  warnLines(run.log, messages.catalog_accepted(changes));
  await publish("catalog.changed", { found: "resumed", changes, schema_hash: catalog.schema_hash, catalog });
}

/** Records how the servers differ from those that a policy was trained with: it is evaluated with other tools. */
async function note({ catalog, log }: Run, trained: Catalog, publish: Out["publish"]) {
  const changes = describeDrift(trained, catalog);
  if (changes.length === 0) return;
  warnLines(log, messages.catalog_differs(changes));
  await publish("catalog.changed", { found: "evaluated", changes, schema_hash: catalog.schema_hash });
}
