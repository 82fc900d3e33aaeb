import assert from "node:assert/strict";
import { Bus } from "../bus.ts";
import { bindAll, type Binding, type Handlers, HOSTED, missingKinds, ONLINE } from "./bindings.ts";
import type { Run } from "./context.ts";

for (const [name, flow] of [["ONLINE", ONLINE], ["HOSTED", HOSTED]] as const) {
  Deno.test(`${name}: every event that is waited for is published, and every file of the table is there`, async () => {
    const published = new Set(["run.started", ...flow.flatMap(({ produces }) => produces)]);
    const waited = flow.flatMap(({ consumes }) => consumes);
    assert.deepEqual(waited.filter((type) => !published.has(type)), []);
    for (const { load } of flow) assert.equal(typeof (await load()).bind, "function");
  });
}

Deno.test("missingKinds() names what is missing, in the order of the flow", () => {
  const kinds = (...there: string[]) => missingKinds((kind) => there.includes(kind), false);
  assert.deepEqual(kinds("scenario-source", "rollout", "judge", "reward-shaper"), []);
  assert.deepEqual(kinds("scenario-source", "rollout", "reward-shaper", "trainer"), ["judge"]);
  assert.deepEqual(kinds("rollout"), ["scenario-source", "judge", "reward-shaper"]);
  assert.deepEqual(kinds(), ["scenario-source", "rollout", "judge", "reward-shaper"]);
});

/** Binds one row that handles `run.started`, and gives what ended the run. */
async function bound(row: Pick<Binding, "consumes" | "produces">, on: Handlers) {
  const stop = new AbortController();
  const bus = new Bus("run", undefined, { signal: stop.signal, on_error: (error) => stop.abort(error) });
  const config = { train: { concurrency: 1, groups_per_step: 1, max_staleness: 0 }, evaluate: {} };
  const load = () => Promise.resolve({ bind: () => [{ stage: "one", on }] });
  await bindAll({ bus, config } as unknown as Run, [{ name: "one", ...row, load }]);
  await bus.publish("runner", "run.started", { name: "n", seed: 1, hone_version: "0", resumed: false });
  await bus.idle();
  stop.signal.throwIfAborted();
}

Deno.test("bindAll() holds a binding to what its row says", async () => {
  const on: Handlers = { "run.started": (_, { publish }) => publish("run.ended", { status: "completed" }) };
  await bound({ consumes: ["run.started"], produces: ["run.ended"] }, on);
  await assert.rejects(
    bound({ consumes: ["run.started"], produces: [] }, on),
    new Error("binding one may not publish run.ended: not in its row of the flow"),
  );
  for (const consumes of [[], ["run.started", "run.ended"]] as const) {
    await assert.rejects(
      bound({ consumes, produces: [] }, on),
      /binding one: its row in the flow and its handlers differ: run/,
    );
  }
});
