import assert from "node:assert/strict";
import { arrows } from "./arrows.ts";
import { type Import, lineOf } from "./finding.ts";

const TABLE = ["plugins/judge/state.ts", "plugins/judge/calls.ts"].map((target): Import => ({
  file: "plugins/mod.ts",
  line: 5,
  specifier: target.replace("plugins", "."),
  target,
  lazy: true,
}));

function found(file: string, target: string, { lazy = false, specifier = target } = {}): string[] {
  return arrows([...TABLE, { file, line: 3, specifier, target, lazy }]).map(lineOf);
}

Deno.test("arrows() lets imports through that point the right way", () => {
  for (
    const [file, target, options] of [
      ["runners/verbs/run.ts", "plugins/mod.ts"],
      ["runners/verbs/run.ts", "pipeline/config/pipeline_file.ts"],
      ["runners/cli/help.ts", "runners/verbs/mod.ts"],
      ["runners/cli/command_line.ts", "runners/mcp/server.ts"],
      ["runners/mcp/tools.ts", "runners/verbs/mod.ts"],
      ["runners/binary/main.ts", "runners/cli/command_line.ts"],
      ["mod.ts", "pipeline/plugin.ts"],
      ["mod.ts", "runners/cli/command_line.ts", { lazy: true }],
      ["plugins/mod.ts", "plugins/rollout/chat.ts", { lazy: true }],
      ["plugins/judge/state.ts", "mod.ts", { specifier: "@hone/hone" }],
      ["plugins/judge/state.ts", "zod"],
      ["plugins/judge/state.ts", "plugins/judge/state_checks.ts"],
      ["plugins/judge/state_test.ts", "pipeline/testing.ts"],
      ["pipeline/run/open_run.ts", "pipeline/bus.ts"],
      ["pipeline/common/version.ts", "deno.json"],
      ["tools/docs.ts", "runners/verbs/verb.ts"],
    ] as const
  ) assert.deepEqual(found(file, target, options), [], `${file} ${target}`);
});

Deno.test("arrows() says what is wanted in place of an import that points the wrong way", () => {
  const wrong: [string[], string][] = [
    [
      found("pipeline/loader.ts", "plugins/mod.ts", { specifier: "../plugins/mod.ts" }),
      "pipeline/loader.ts:3: imports ../plugins/mod.ts; wanted: the core knows no plugin and no runner",
    ],
    [
      found("pipeline/loader.ts", "mod.ts", { specifier: "@hone/hone" }),
      "pipeline/loader.ts:3: imports @hone/hone; wanted: the core knows no plugin and no runner",
    ],
    [
      found("mod.ts", "runners/cli/command_line.ts"),
      "mod.ts:3: imports runners/cli/command_line.ts; wanted: the public surface is the core; it reaches built-in plugins and the command line by import()",
    ],
    [
      found("plugins/mod.ts", "plugins/rollout/chat.ts"),
      "plugins/mod.ts:3: imports plugins/rollout/chat.ts; wanted: the table of built-ins names plugins by import(), and uses the core",
    ],
    [
      found("plugins/judge/state.ts", "plugins/judge/calls.ts"),
      "plugins/judge/state.ts:3: imports plugins/judge/calls.ts; wanted: plugins never import plugins; what a kind shares is no plugin",
    ],
    [
      found("plugins/judge/state.ts", "plugins/trainer/endpoint.ts"),
      "plugins/judge/state.ts:3: imports plugins/trainer/endpoint.ts; wanted: plugins never import plugins; what a kind shares is no plugin",
    ],
    [
      found("plugins/judge/state.ts", "pipeline/bus.ts"),
      'plugins/judge/state.ts:3: imports pipeline/bus.ts; wanted: plugins reach the core through "@hone/hone"',
    ],
    [
      found("plugins/judge/state.ts", "runners/verbs/verb.ts"),
      "plugins/judge/state.ts:3: imports runners/verbs/verb.ts; wanted: plugins know no runner",
    ],
    [
      found("runners/verbs/watch.ts", "runners/cli/table.ts"),
      "runners/verbs/watch.ts:3: imports runners/cli/table.ts; wanted: verbs know neither the command line nor the MCP server, and plugins by plugins/mod.ts",
    ],
    [
      found("runners/mcp/tools.ts", "runners/cli/table.ts"),
      "runners/mcp/tools.ts:3: imports runners/cli/table.ts; wanted: the MCP server uses verbs, and plugins by plugins/mod.ts",
    ],
    [
      found("runners/cli/help.ts", "plugins/judge/state.ts"),
      "runners/cli/help.ts:3: imports plugins/judge/state.ts; wanted: the command line uses verbs, the MCP server that it starts, and plugins by plugins/mod.ts",
    ],
    [
      found("runners/binary/main.ts", "runners/verbs/mod.ts"),
      "runners/binary/main.ts:3: imports runners/verbs/mod.ts; wanted: the binary is a thin entry to the command line",
    ],
    [
      found("tests/runs/run_test.ts", "jsr:@std/assert"),
      "tests/runs/run_test.ts:3: imports jsr:@std/assert; wanted: packages by npm: or node:, through the import map",
    ],
  ];
  for (const [lines, wanted] of wrong) assert.deepEqual(lines, [wanted]);
});
