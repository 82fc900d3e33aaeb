import assert from "node:assert/strict";
import type { Json, JsonObject } from "../events.ts";
import { misfit, schemaProblem } from "./schema_check.ts";

const REPLY = { whole: "the reply", unknown_field: "is not a field of the schema" };

Deno.test("misfit() names each problem of a value, five at most", () => {
  const properties = Object.fromEntries([..."abcdefg"].map((name) => [name, { type: "integer" }]));
  const schema = { type: "object", properties, required: ["a"], additionalProperties: false };
  assert.equal(misfit(schema, { a: 1 }, REPLY), null);
  assert.equal(misfit(schema, [], REPLY), "the reply must be object");
  assert.equal(misfit(schema, { z: 1 }, REPLY), '"a" is missing; "z" is not a field of the schema');
  const wrong = Object.fromEntries([..."abcdefg"].map((name) => [name, "x"]));
  assert.equal(
    misfit(schema, wrong, REPLY),
    `${[..."abcde"].map((name) => `"${name}" must be integer`).join("; ")}; and 2 more`,
  );
});

Deno.test("schemaProblem() says why a schema cannot be used, and misfit() then finds nothing", () => {
  assert.equal(schemaProblem({ type: "object" }), null);
  assert.equal(schemaProblem({ type: "objct" }), "type must be JSONType or JSONType[]: objct");
  const waits: JsonObject = { $async: true, type: "object" };
  assert.equal(schemaProblem(waits), "$async is no keyword of JSON Schema");
  assert.equal(misfit(waits, 7, REPLY), null);
});

Deno.test("misfit() checks equal schemas that are objects of their own, with an $id too", () => {
  for (let i = 0; i < 3; i++) {
    const schema: JsonObject = { $id: "https://example.com/score", type: "object", required: ["score"] };
    assert.equal(misfit(schema, {} as Json, REPLY), '"score" is missing');
  }
});
