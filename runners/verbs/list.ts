/**
 * `hone list`: the built-in plugins, or one plugin with its settings and examples.
 * @module
 */
import { stringify } from "yaml";
import { z } from "zod";
import { jsonSchema } from "../../pipeline/config/issues.ts";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import { KINDS, loadPlugin } from "../../pipeline/loader.ts";
import type { Plugin } from "../../pipeline/plugin.ts";
import { fieldRows } from "../../pipeline/config/schema_tables.ts";
import { builtins } from "../../plugins/mod.ts";
import { defineVerb } from "./verb.ts";

export default defineVerb({
  name: "list",
  summary: "List plugins, or show one with its settings.",
  description:
    "Without an argument, all built-in plugins by kind. With a kind, those of the kind. With a plugin (as `use:` " +
    "names it: built-in, path, npm: or exec:), its settings, their defaults, and examples.",
  positional: [{ name: "plugin", description: "A kind, or a plugin as `use:` names it.", optional: true }],
  args: z.strictObject({}),
  examples: ["hone list", "hone list judge", "hone list judge/state", "hone list ./my_judge.ts --format json"],
  async run({ positional: [what], out, format, signal }) {
    const load = (use: string) => loadPlugin(use, { base_dir: Deno.cwd(), builtins, signal });
    if (what !== undefined && !KINDS.some((kind) => kind === what)) {
      const plugin = await load(what);
      out(format === "json" ? JSON.stringify(asJson(what, plugin), null, 2) : describe(what, plugin));
      return 0;
    }
    const uses = Object.keys(builtins).filter((use) => what === undefined || use.startsWith(what + "/"));
    if (uses.length === 0) throw new HoneError(cli.no_plugins_of(what!));
    const plugins = await Promise.all(uses.map(async (use) => [use, await load(use)] as const));
    if (format === "json") out(JSON.stringify(plugins.map(([use, plugin]) => asJson(use, plugin)), null, 2));
    else {
      const width = Math.max(...uses.map((use) => use.length));
      for (const [use, { summary }] of plugins) out(`${use.padEnd(width)}  ${summary}`);
    }
    return 0;
  },
});

function asJson(use: string, { kind, name, summary, config, examples }: Plugin) {
  return { use, kind, name, summary, config: jsonSchema(config), examples };
}

/** A plugin as text: what it does, its settings, its examples as YAML. */
function describe(use: string, { kind, summary, config, examples }: Plugin): string {
  const rows = fieldRows(config);
  const width = Math.max(0, ...rows.map(({ field }) => field.length));
  const fields = rows.map(({ field, type, required, default: standard, description }) => {
    const note = required ? "required" : standard ? `default ${standard}` : "optional";
    return `  ${field.padEnd(width)}  ${description} (${type}; ${note})`;
  });
  const shown = examples.map(({ title, with: settings }) =>
    `# ${title}\n${stringify([{ use, ...(Object.keys(settings).length > 0 && { with: settings }) }]).trimEnd()}`
  );
  return [`${use} (${kind})`, summary, "", ...(rows.length ? ["settings:", ...fields] : ["no settings"]), "", ...shown]
    .join("\n");
}
