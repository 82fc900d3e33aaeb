/**
 * `hone list`: the built-in plugins, or one plugin with its settings and examples.
 * @module
 */
import { stringify } from "yaml";
import { z } from "zod";
import { jsonSchema } from "../../pipeline/config/issues.ts";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import { isKind } from "../../pipeline/kinds.ts";
import { loadPlugin } from "../../pipeline/loader.ts";
import type { Plugin } from "../../pipeline/plugin.ts";
import { pluginProgram } from "../../pipeline/config/programs.ts";
import { schemaRows } from "../../pipeline/config/schema_tables.ts";
import { builtins } from "../../plugins/mod.ts";
import { approval, yes } from "./consent.ts";
import { defineVerb, indented } from "./verb.ts";

const shown = z.object({
  use: z.string().describe("Value of `use:` in a pipeline."),
  kind: z.string(),
  name: z.string(),
  summary: z.string(),
  config: z.record(z.string(), z.unknown()).describe("JSON Schema of its settings."),
  examples: z.array(z.object({ title: z.string(), with: z.record(z.string(), z.unknown()) })),
});

type Shown = z.output<typeof shown>;

export default defineVerb({
  name: "list",
  summary: "List plugins, or show one with its settings.",
  description:
    "Without an argument, lists all built-in plugins by kind. With a kind, lists those of the kind. With a plugin (a value " +
    "of `use:`: built-in, path, npm: or exec:), shows its settings, their defaults and examples; the code of one that is not built in is loaded once it is approved.",
  effect: "reads",
  positional: [{ name: "plugin", description: "A kind, or a plugin as in `use:`.", optional: true }],
  args: z.strictObject({ yes }),
  result: z.union([shown, z.array(shown)]),
  examples: ["hone list", "hone list judge", "hone list judge/state", "hone list ./my_judge.ts --format json"],
  async run(call): Promise<Shown | Shown[]> {
    const { positional: [what], signal, caller } = call;
    const base_dir = Deno.cwd();
    const load = async (use: string) => asShown(use, await loadPlugin(use, { base_dir, builtins, signal }));
    if (what !== undefined && !isKind(what)) {
      const known = Object.keys(builtins);
      if (!caller.loads_code && !known.includes(what)) throw new HoneError(cli.plugin_not_allowed(what, known));
      const program = await pluginProgram(what, base_dir);
      if (program) await approval(call, what)([program], { sound: true, base_dir });
      return await load(what);
    }
    const uses = Object.keys(builtins).filter((use) => what === undefined || use.startsWith(what + "/"));
    if (uses.length === 0) throw new HoneError(cli.no_plugins_of(what!));
    return await Promise.all(uses.map(load));
  },
  formats: { json: indented },
  text(value) {
    if (!Array.isArray(value)) return describe(value);
    const width = Math.max(...value.map(({ use }) => use.length));
    return value.map(({ use, summary }) => `${use.padEnd(width)}  ${summary}`).join("\n");
  },
});

function asShown(use: string, { kind, name, summary, config, examples }: Plugin): Shown {
  return { use, kind, name, summary, config: jsonSchema(config), examples };
}

/** A plugin as text: what it does, its settings, its examples as YAML. */
function describe({ use, kind, summary, config, examples }: Shown): string {
  const rows = schemaRows(config);
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
