import assert from "node:assert/strict";
import { jitter } from "./slot.ts";

Deno.test("jitter() ends with the signal's reason when that comes before the time that a server asked for", async () => {
  const stop = new AbortController();
  const waiting = jitter(1, stop.signal, 1e6);
  stop.abort(new Error("the run ended"));
  await assert.rejects(waiting, /the run ended/);
});
