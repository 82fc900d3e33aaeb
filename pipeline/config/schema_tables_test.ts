import assert from "node:assert/strict";
import { Ajv2020 } from "ajv/dist/2020.js";
import { z } from "zod";
import { jsonSchema } from "./issues.ts";
import { pipeline_schema } from "./pipeline_schema.ts";
import type { Plugin } from "../plugin.ts";
import { fieldRows, markdownTable, pipelineJsonSchema } from "./schema_tables.ts";
import { undescribed } from "../testing.ts";

const judge: Plugin = {
  kind: "judge",
  name: "state",
  summary: "Reads the world.",
  config: z.strictObject({
    mode: z.enum(["a", "b"]).default("a").describe("How | why."),
    where: z.strictObject({ path: z.string().describe("A path.").meta({ examples: ["./x"] }) }).describe("Where."),
  }),
  examples: [],
  create: () => Promise.reject(new Error("not created")),
};

Deno.test("pipeline_schema describes every field and gives it a default or an example", () => {
  assert.deepEqual(undescribed(jsonSchema(pipeline_schema)), []);
});

Deno.test("undescribed() names what a schema does not explain", () => {
  const schema = z.strictObject({
    a: z.string(),
    b: z.array(z.strictObject({ c: z.int().default(1) })).default([]).describe("B."),
  });
  assert.deepEqual(undescribed(jsonSchema(schema)), [
    "a has no description",
    "a has no default or example",
    "b.c has no description",
  ]);
});

Deno.test("pipelineJsonSchema() knows the settings of each plugin, and servers by file", () => {
  const validate = new Ajv2020({ strict: false, validateFormats: false }).compile(
    pipelineJsonSchema({ "judge/state": judge }),
  );
  const pipeline = (settings: unknown, use = "judge/state") => ({
    name: "x",
    servers: "./mcp.json",
    stages: [{ use, with: settings }],
  });
  assert.equal(validate(pipeline({ where: { path: "a" } })), true, JSON.stringify(validate.errors));
  assert.equal(validate(pipeline({ anything: 1 }, "./my_judge.ts")), true);
  assert.equal(validate(pipeline({ where: { path: "a" }, mod: "a" })), false);
  assert.equal(validate({ ...pipeline({}, "./x.ts"), trian: {} }), false);
});

Deno.test("markdownTable() has a row for every field, nested ones by dotted name", () => {
  assert.equal(
    markdownTable(fieldRows(judge.config)),
    [
      "| field | type | default | description |",
      "|---|---|---|---|",
      '| `mode` | `"a" \\| "b"` | `"a"` | How \\| why. |',
      "| `where` | `map` | required | Where. |",
      "| `where.path` | `string` | required | A path. |",
    ].join("\n"),
  );
  assert.equal(markdownTable([]), "No settings.");
});
