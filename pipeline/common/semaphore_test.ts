import assert from "node:assert/strict";
import { Semaphore } from "./semaphore.ts";

Deno.test("Semaphore.use() runs so many at once, in the order in which they came", async () => {
  const semaphore = new Semaphore(2);
  const gates = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
  const begun: number[] = [];
  const all = gates.map(({ promise }, i) =>
    semaphore.use(() => {
      begun.push(i);
      return promise;
    })
  );
  await Promise.resolve();
  assert.deepEqual(begun, [0, 1]);
  gates[1]!.resolve();
  await all[1];
  await Promise.resolve();
  assert.deepEqual(begun, [0, 1, 2]);
  for (const { resolve } of gates) resolve();
  await Promise.all(all);
  assert.deepEqual(begun, [0, 1, 2, 3]);
});

Deno.test("Semaphore.use() leaves the queue when its signal aborts, and the place goes to the next", async () => {
  const semaphore = new Semaphore(1);
  const gate = Promise.withResolvers<void>();
  const stop = new AbortController();
  const first = semaphore.use(() => gate.promise);
  const second = semaphore.use(() => Promise.reject(new Error("must not run")), stop.signal);
  const third = semaphore.use(() => Promise.resolve(3));
  stop.abort(new Error("stopped"));
  await assert.rejects(second, { message: "stopped" });
  await assert.rejects(semaphore.use(() => Promise.resolve(4), stop.signal), { message: "stopped" });
  gate.resolve();
  await first;
  assert.equal(await third, 3);
  assert.equal(await semaphore.use(() => Promise.resolve(5)), 5);
});
