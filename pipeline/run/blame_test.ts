import assert from "node:assert/strict";
import { HoneError } from "../diagnostics/mod.ts";
import { blaming, blamingEach, stageOf } from "./blame.ts";

const STAGE = { id: "source", use: "./my_source.ts" };

async function thrownBy(work: () => Promise<unknown>): Promise<HoneError> {
  const error = await work().then(() => assert.fail("nothing was thrown"), (error) => error);
  assert.ok(error instanceof HoneError);
  return error;
}

Deno.test("blaming() names the stage and the place when a plugin throws a plain error", async () => {
  const error = await thrownBy(() => blaming(STAGE, () => Promise.reject(new Error("the database said no"))));
  assert.equal(error.code, "STAGE_FAILED");
  assert.equal(error.message, 'Stage "source" (./my_source.ts) failed: the database said no');
  assert.match(error.hint!, /^It was thrown at .*blame_test\.ts:\d+:\d+\)?\.$/);
  assert.equal((error.cause as Error).message, "the database said no");
  assert.equal(stageOf(error), "source");
});

Deno.test("blaming() passes on a HoneError as it is, with its stage noted", async () => {
  const own = new HoneError({ code: "NO_PYTHON", message: "Cannot find Python" });
  const error = await thrownBy(() => blaming(STAGE, () => Promise.reject(own)));
  assert.equal(error, own);
  assert.equal(stageOf(error), "source");
  assert.equal(stageOf(new Error("from elsewhere")), "runner");
});

Deno.test("blaming() reads what is thrown although it is no error", async () => {
  const error = await thrownBy(() =>
    blaming(STAGE, () => {
      throw "just words";
    })
  );
  assert.equal(error.message, 'Stage "source" (./my_source.ts) failed: just words');
});

Deno.test("blamingEach() passes on values and the result, and names the stage when one cannot be made", async () => {
  async function* two() {
    yield 1;
    yield 2;
    return "done";
  }
  const values = blamingEach(STAGE, two);
  assert.deepEqual([await values.next(), await values.next(), await values.next()], [
    { done: false, value: 1 },
    { done: false, value: 2 },
    { done: true, value: "done" },
  ]);
  function* fails() {
    yield 1;
    throw new Error("no more");
  }
  const broken = blamingEach(STAGE, fails);
  await broken.next();
  assert.equal((await thrownBy(() => broken.next())).message, 'Stage "source" (./my_source.ts) failed: no more');
});
