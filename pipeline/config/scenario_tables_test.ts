import assert from "node:assert/strict";
import { Ajv2020 } from "ajv/dist/2020.js";
import { builtins } from "../../plugins/mod.ts";
import type { ScenarioPart } from "../plugin.ts";
import { asPart } from "../scenario/parts.ts";
import { scenarioSchema } from "../scenario/scenario_schema.ts";
import { scenarioFields, scenarioJsonSchema } from "./scenario_tables.ts";

async function parts(): Promise<ScenarioPart[]> {
  const plugins = await Promise.all(Object.values(builtins).map(async (load) => (await load()).default));
  return plugins.map((plugin) => asPart(plugin, true)).filter((part) => part !== undefined);
}

/** The names of the fields in a value, as in tables: `checks[].call.tool`. Entries of other maps have no rows. */
function names(value: unknown, prefix: string): string[] {
  if (Array.isArray(value)) return value.flatMap((each) => names(each, `${prefix}[]`));
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, inner]) => [`${prefix}.${key}`, ...names(inner, `${prefix}.${key}`)]);
}

Deno.test("every field of a scenario is described, and is part of a valid example", async () => {
  const schema = scenarioSchema(await parts());
  for (const { row, inner, examples } of scenarioFields(await parts())) {
    assert.ok(examples.length > 0, row.field);
    for (const { field, description } of [row, ...inner]) assert.notEqual(description, "", field);
    for (const example of examples) {
      const { success, error } = schema.safeParse({ task: "Write.", [row.field]: example });
      assert.ok(success, `${row.field}: ${error}`);
    }
    const shown = examples.flatMap((example) => names(example, row.field));
    const fields = inner.map(({ field }) => field).filter((field) => !field.includes("<name>"));
    assert.deepEqual(fields.filter((field) => !shown.includes(field)), []);
  }
});

Deno.test("the JSON Schema accepts lists of scenarios, alone or under `scenarios`, and rejects unknown fields", async () => {
  const valid = new Ajv2020({ strict: false }).compile(scenarioJsonSchema(await parts()));
  const one = { task: "Write.", checks: [{ file: "a.txt", equals: { b: [1] } }] };
  assert.ok(valid([one]));
  assert.ok(valid({ scenarios: [one] }));
  assert.ok(valid([{ ...one, expect: { polite: { word: "thank" } } }]));
  assert.ok(!valid([{ ...one, chekcs: [] }]));
  assert.ok(!valid([{ ...one, checks: [{ fiel: "a.txt" }] }]));
});
