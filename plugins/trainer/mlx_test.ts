import assert from "node:assert/strict";
import { conformance } from "@hone/hone/testing";
import plugin from "./mlx.ts";

conformance(plugin);

Deno.test("settings refuse dropout, which is always 0, and other unknown fields", () => {
  const parsed = plugin.config.safeParse({ lora: { dropout: 0.1 } });
  assert.deepEqual(parsed.error?.issues.map(({ code, path }) => [code, path]), [["unrecognized_keys", ["lora"]]]);
});
