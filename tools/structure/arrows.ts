/**
 * Which file may import which: runners → plugins/mod.ts → plugins → mod.ts → pipeline. The core knows no plugin and no
 * runner; plugins reach the core through `@hone/hone` and never each other; of the runners only the command line and
 * the MCP server use the verbs. Nothing comes from an address. Tests import what they test.
 * @module
 */
import { type Finding, type Import, isTest } from "./finding.ts";

interface Layer {
  /** A file, or a folder that ends in `/`. */
  at: string;
  uses: string[];
  /** Used by `import()` only. */
  later?: string[];
  wanted: string;
}

const VERBS_AND_BELOW = ["mod.ts", "pipeline/", "plugins/mod.ts", "runners/verbs/"];

/** The first layer that a file lies in is its own; files in none (tools, tests, examples) may import anything. */
const LAYERS: Layer[] = [
  { at: "pipeline/", uses: ["pipeline/"], wanted: "the core knows no plugin and no runner" },
  {
    at: "mod.ts",
    uses: ["pipeline/"],
    later: ["plugins/mod.ts", "runners/cli/command_line.ts"],
    wanted: "the public surface is the core; it reaches built-in plugins and the command line by import()",
  },
  {
    at: "plugins/mod.ts",
    uses: ["mod.ts", "pipeline/"],
    later: ["plugins/"],
    wanted: "the table of built-ins names plugins by import(), and uses the core",
  },
  {
    at: "runners/verbs/",
    uses: VERBS_AND_BELOW,
    wanted: "verbs know neither the command line nor the MCP server, and plugins by plugins/mod.ts",
  },
  {
    at: "runners/mcp/",
    uses: [...VERBS_AND_BELOW, "runners/mcp/"],
    wanted: "the MCP server uses verbs, and plugins by plugins/mod.ts",
  },
  {
    at: "runners/cli/",
    uses: [...VERBS_AND_BELOW, "runners/cli/", "runners/mcp/"],
    wanted: "the command line uses verbs, the MCP server that it starts, and plugins by plugins/mod.ts",
  },
  {
    at: "runners/binary/",
    uses: ["runners/binary/", "runners/cli/command_line.ts", "pipeline/", "plugins/mod.ts"],
    wanted: "the binary is a thin entry to the command line",
  },
];

/** Every import against the arrows. */
export function arrows(imports: readonly Import[]): Finding[] {
  const table = imports.filter(({ file }) => file === "plugins/mod.ts");
  const plugins = new Set(table.map(({ target }) => target).filter((target) => target.startsWith("plugins/")));
  return imports.flatMap((one): Finding[] => {
    const wanted = wantedInstead(one, plugins);
    const { file, line, specifier } = one;
    return wanted ? [{ rule: "arrows", file, line, problem: `imports ${specifier}`, wanted }] : [];
  });
}

/** What is wanted in place of an import, where it is against the arrows. */
function wantedInstead({ file, specifier, target, lazy }: Import, plugins: ReadonlySet<string>): string | undefined {
  if (/^(https?|jsr|data):/.test(specifier)) return "packages by npm: or node:, through the import map";
  if (isTest(file) || !target.endsWith(".ts")) return undefined;
  const layer = LAYERS.find(({ at }) => isAt(file, at));
  if (!layer) return file.startsWith("plugins/") ? wantedOfPlugin(file, specifier, target, plugins) : undefined;
  const { uses, later = [], wanted } = layer;
  return [...uses, ...(lazy ? later : [])].some((at) => isAt(target, at)) ? undefined : wanted;
}

function wantedOfPlugin(file: string, specifier: string, target: string, plugins: ReadonlySet<string>) {
  const kind = file.split("/").slice(0, 2).join("/");
  if (plugins.has(target) || !isAt(target, `${kind}/`)) {
    if (target.startsWith("plugins/")) return "plugins never import plugins; what a kind shares is no plugin";
    if (target.startsWith("runners/")) return "plugins know no runner";
    if (!specifier.startsWith("@hone/hone")) return 'plugins reach the core through "@hone/hone"';
  }
  return undefined;
}

function isAt(file: string, at: string): boolean {
  return at.endsWith("/") ? file.startsWith(at) : file === at;
}
