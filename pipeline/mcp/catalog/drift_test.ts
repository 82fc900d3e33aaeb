import assert from "node:assert/strict";
import type { JsonObject } from "../../events.ts";
import { joinCatalogs, toolSpec } from "./catalog.ts";
import { describeDrift } from "./drift.ts";

const catalog = (version: string, ...tools: Parameters<typeof toolSpec>[1][]) => {
  const server = {
    name: "s",
    transport: "stdio" as const,
    protocol: "2025-11-25",
    implementation: { name: "it", version },
    resources: [],
    resource_templates: [],
    prompts: [],
  };
  return joinCatalogs([{ servers: [server], tools: tools.map((tool) => toolSpec("s", tool)), schema_hash: "" }]);
};

const schema = (properties: JsonObject, required: string[] = [], more: JsonObject = {}) => ({
  inputSchema: { type: "object", properties, required, ...more },
});

Deno.test("describeDrift() names every difference, in words", () => {
  const before = catalog("1.0.0", { name: "gone" }, {
    name: "kept",
    description: "Old.",
    ...schema({
      x: { type: "number" },
      dropped: { type: "string" },
      mode: { enum: ["r", "w"] },
      need: { type: "string" },
      spare: { type: "string" },
      edits: { type: "array", items: { type: "object", properties: { from: { type: "string" } } } },
    }, ["spare"]),
  });
  const after = catalog("2.0.0", { name: "fresh" }, {
    name: "kept",
    description: "New.",
    ...schema(
      {
        x: { type: "string", description: "An x." },
        mode: { enum: ["r", "w", "a"] },
        need: { type: "string" },
        spare: { type: "string" },
        edits: {
          type: "array",
          items: {
            type: "object",
            properties: { from: { type: "integer" }, to: { type: "string" } },
            required: ["to"],
          },
        },
        y: { type: "string" },
      },
      ["y", "need"],
      { additionalProperties: false },
    ),
    outputSchema: { type: "object", properties: { n: { type: "number" } } },
  });
  assert.deepEqual(describeDrift(before, before), []);
  assert.deepEqual(describeDrift(before, after), [
    "server s is version 2.0.0, was 1.0.0",
    "tool s/gone is gone",
    "tool s/fresh is new",
    'tool s/kept: description is "New.", was "Old."',
    'tool s/kept: argument x: type is "string", was "number"',
    'tool s/kept: argument x: description is "An x.", was nothing',
    "tool s/kept: argument dropped is gone",
    'tool s/kept: argument mode: enum is ["r","w","a"], was ["r","w"]',
    'tool s/kept: argument edits[].from: type is "integer", was "string"',
    "tool s/kept: argument edits[].to is new (string, required)",
    "tool s/kept: argument y is new (string, required)",
    "tool s/kept: argument spare is no longer required",
    "tool s/kept: argument need is now required",
    "tool s/kept: arguments: additionalProperties is false, was nothing",
    'tool s/kept: result fields: type is "object", was nothing',
    "tool s/kept: result field n is new (number, optional)",
  ]);
});

Deno.test("describeDrift() is silent about order and about properties that every object has", () => {
  const one = catalog("1", { name: "a", ...schema({ constructor: { type: "string" } }) }, { name: "b" });
  const two = catalog("1", { name: "b" }, { name: "a", ...schema({}) });
  const turned = catalog("1", { name: "b" }, { name: "a", ...schema({ constructor: { type: "string" } }) });
  assert.deepEqual(describeDrift(one, turned), []);
  assert.deepEqual(describeDrift(one, two), ["tool s/a: argument constructor is gone"]);
});

Deno.test("describeDrift() names changed annotations, and compares with the hash of earlier versions without them", () => {
  const tool = (hints: JsonObject) => ({ name: "a", ...schema({ x: { type: "string" } }), annotations: hints });
  const one = catalog("1", tool({ readOnlyHint: true }));
  const two = catalog("1", tool({ readOnlyHint: true, destructiveHint: true }));
  assert.notEqual(one.schema_hash, two.schema_hash);
  assert.deepEqual(describeDrift(one, two), ["tool s/a: annotation destructive is true, was nothing"]);
  const earlier = "ac7277e10929f65de90bc2b77e5bf3293490bc94f1ab83344d00a7ed25a00a31";
  assert.deepEqual(describeDrift({ ...one, schema_hash: earlier }, one), []);
  assert.deepEqual(describeDrift({ ...one, schema_hash: earlier }, two), [
    "tool s/a: annotation destructive is true, was nothing",
  ]);
  const bare = one.tools.map(({ annotations: _, ...rest }) => rest) as typeof one.tools;
  assert.deepEqual(describeDrift({ servers: [], tools: bare, schema_hash: earlier }, two), []);
});
