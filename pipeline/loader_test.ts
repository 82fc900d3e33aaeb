import assert from "node:assert/strict";
import { z } from "zod";
import { HoneError } from "./diagnostics/mod.ts";
import { loadPlugin } from "./loader.ts";
import type { Plugin } from "./plugin.ts";

const judge: Plugin<"judge"> = {
  kind: "judge",
  name: "state",
  summary: "A test.",
  config: z.strictObject({}),
  examples: [],
  create: () => ({ scale: "absolute", decisive: true, judge: () => [] }),
};
const builtins = {
  "judge/state": () => Promise.resolve({ default: judge }),
  "rollout/chat": () => Promise.resolve({ default: judge }),
  "judge/broken": () => Promise.reject(new Error("Cannot find module left-pad\nat …")),
};
const load = (use: string) => loadPlugin(use, { base_dir: "/nowhere", builtins });
const refusal = (message: string, code: string) => (error: unknown) => {
  assert.ok(error instanceof HoneError);
  assert.deepEqual([error.code, error.message], [code, message]);
  return true;
};

Deno.test("loadPlugin() gives the built-in of that name", async () => {
  assert.equal(await load("judge/state"), judge);
});

Deno.test("loadPlugin() refuses a plugin of the wrong kind", async () => {
  await assert.rejects(
    load("rollout/chat"),
    refusal('Cannot use plugin "rollout/chat": it is a judge, expected a rollout', "WRONG_KIND"),
  );
});

Deno.test("loadPlugin() says the first line of why a module did not load", async () => {
  await assert.rejects(
    load("judge/broken"),
    refusal('Cannot load plugin "judge/broken": Cannot find module left-pad', "PLUGIN_BROKEN"),
  );
});

Deno.test("loadPlugin() refuses npm versions that are not exact, and addresses", async () => {
  const ranges = ["1.2.3||2", "1.2.3 - 2.0.0", "1.2.3 <2", "1.2.x", "~1.2.3", "=1.2.3", "v1.2.3"];
  const names = ["01.2.3", "1.2.3.4", "1.2.3-", "1.2.3-a..b", "1.2.3/../b", "1.2.3/x/../../b", "1.2.3/%2e%2e/b"];
  const versions = [...ranges, ...names].map((version) => `npm:a@${version}`);
  for (const use of ["npm:a", "npm:a@1", "npm:@s/a@^1.2.3", "npm:a@latest", "npm:../a@1.2.3", ...versions]) {
    await assert.rejects(load(use), refusal(`Cannot load plugin "${use}": the version is not pinned`, "NPM_UNPINNED"));
  }
  for (const use of ["https://a.example/b.ts", "jsr:@s/a@1.0.0", "data:text/javascript,1"]) {
    await assert.rejects(
      load(use),
      refusal(`Cannot load plugin "${use}": hone does not run code directly from a URL`, "REMOTE_REFUSED"),
    );
  }
});

Deno.test("loadPlugin() imports a pinned npm package and says that it is no plugin", async () => {
  await assert.rejects(
    load("npm:zod@4.6.7"),
    refusal(
      'Cannot use plugin "npm:zod@4.6.7": its kind is undefined, expected one of discoverer, scenario-source, rollout, judge, reward-shaper, trainer, exporter, tracker',
      "UNKNOWN_KIND",
    ),
  );
});
