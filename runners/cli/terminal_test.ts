import assert from "node:assert/strict";
import { isTerminal } from "./terminal.ts";

Deno.test("isTerminal() does not trust one that cannot move its cursor", () => {
  const before = Deno.env.get("TERM");
  try {
    Deno.env.set("TERM", "dumb");
    assert.equal(isTerminal({ isTTY: true }), false);
    Deno.env.set("TERM", "xterm");
    assert.deepEqual([isTerminal({ isTTY: true }), isTerminal({}), isTerminal({ isTTY: false })], [true, false, false]);
  } finally {
    if (before === undefined) Deno.env.delete("TERM");
    else Deno.env.set("TERM", before);
  }
});
