import assert from "node:assert/strict";
import { ownEnv } from "../../tests/fixtures/own_env.ts";
import { isTerminal } from "./terminal.ts";

Deno.test("isTerminal() does not trust one that cannot move its cursor", () => {
  {
    using _env = ownEnv({ TERM: "dumb" });
    assert.equal(isTerminal({ isTTY: true }), false);
  }
  using _env = ownEnv({ TERM: "xterm" });
  assert.deepEqual([isTerminal({ isTTY: true }), isTerminal({}), isTerminal({ isTTY: false })], [true, false, false]);
});
