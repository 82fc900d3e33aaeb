import assert from "node:assert/strict";
import type { JsonObject, ToolSpec } from "../events.ts";
import { compactTool, estimateTool, toolLine } from "./tool_text.ts";

const tool = (input_schema: JsonObject, description = "Edits a file. At length."): ToolSpec => ({
  server: "s",
  name: "edit",
  model_name: "edit",
  description,
  input_schema,
  annotations: {},
  tokens: 0,
});

const RICH: JsonObject = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "Edit",
  type: "object",
  additionalProperties: false,
  properties: {
    path: { type: "string", description: "Where the file is. Relative paths are relative.", minLength: 1 },
    title: { type: "string", title: "Title", default: "none", examples: ["a"] },
    edits: {
      type: "array",
      minItems: 1,
      items: {
        type: "object",
        properties: { from: { type: "string" }, to: { type: "string" }, times: { type: "integer", minimum: 1 } },
        required: ["from", "to"],
      },
    },
    mode: { enum: ["fast", "safe"], description: "" },
    modes: { type: "array", items: { enum: ["a", "b"] } },
    limit: { anyOf: [{ type: "integer" }, { type: "null" }], default: null },
    point: { $ref: "#/$defs/point" },
    kind: { const: "file" },
  },
  required: ["path", "edits"],
  $defs: { point: { type: "object", title: "P", properties: { x: { type: "number" } }, required: ["x"] } },
};

Deno.test("toolLine() names arguments with types, enums and what is inside them, on one line", () => {
  assert.equal(
    toolLine(tool(RICH)),
    'edit(path, title?, edits: {from, to, times?: integer}[], mode?: "fast"|"safe", modes?: ("a"|"b")[], ' +
      'limit?: integer, point?: {x: number}, kind?: "file"): Edits a file',
  );
  assert.equal(toolLine(tool({ type: "object" }, "")), "edit()");
});

Deno.test("compactTool() keeps names, types, required, enums and references, and shortens descriptions", () => {
  const before = structuredClone(RICH);
  const compact = compactTool(tool(RICH));
  assert.equal(compact.description, "Edits a file");
  assert.deepEqual(compact.input_schema, {
    type: "object",
    properties: {
      path: { type: "string", description: "Where the file is" },
      title: { type: "string" },
      edits: {
        type: "array",
        items: {
          type: "object",
          properties: { from: { type: "string" }, to: { type: "string" }, times: { type: "integer" } },
          required: ["from", "to"],
        },
      },
      mode: { enum: ["fast", "safe"] },
      modes: { type: "array", items: { enum: ["a", "b"] } },
      limit: { anyOf: [{ type: "integer" }, { type: "null" }] },
      point: { $ref: "#/$defs/point" },
      kind: { const: "file" },
    },
    required: ["path", "edits"],
    $defs: { point: { type: "object", properties: { x: { type: "number" } }, required: ["x"] } },
  });
  assert.deepEqual(RICH, before, "the server's own schema is what arguments are checked with");
  assert.deepEqual(compactTool(compact), compact);
  assert.ok(estimateTool(compact, "native") < estimateTool(tool(RICH), "native") * 0.85);
  assert.equal(estimateTool(tool(RICH), "native", "compact"), estimateTool(compact, "native"));
  assert.ok(estimateTool(tool(RICH), "hermes") < estimateTool(compact, "native"));
});

Deno.test("schemas without end or sense are shown as far as they go", () => {
  const loop: JsonObject = { properties: { next: { $ref: "#" } } };
  assert.equal(toolLine(tool(loop, "")), "edit(next?: {next?: {next?: {next?}}})");
  let deep: JsonObject = {};
  for (let level = 0; level < 50; level++) deep = { type: "object", properties: { a: deep } };
  assert.ok(toolLine(tool(deep)).length < 100);
  assert.ok(JSON.stringify(compactTool(tool(deep))).length < 600);
  for (const odd of [{ properties: [1] }, { properties: { a: true } }, { required: "a", properties: { a: null } }]) {
    assert.match(toolLine(tool(odd as JsonObject, "")), /^edit\((a\?)?\)$/);
    assert.ok(compactTool(tool(odd as JsonObject)).input_schema);
  }
});
