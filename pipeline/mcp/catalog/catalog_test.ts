import assert from "node:assert/strict";
import { HoneError } from "../../diagnostics/mod.ts";
import type { JsonObject } from "../../events.ts";
import { schemaProblem } from "../../common/schema_check.ts";
import { argumentProblem } from "../pool/arguments.ts";
import { filterTools, joinCatalogs, toolSpec } from "./catalog.ts";
import { modelNames } from "./names.ts";
import { resourceText, resultText } from "../session/tool_result.ts";

const named = (server: string, ...names: string[]) => names.map((name) => ({ server, name }));
const catalogOf = (...tools: Parameters<typeof toolSpec>[1][]) =>
  joinCatalogs([{ servers: [], tools: tools.map((tool) => toolSpec("s", tool)), schema_hash: "" }]);

Deno.test("modelNames() keeps what is fine and prefixes what two servers share", () => {
  assert.deepEqual(modelNames([...named("a", "read", "list"), ...named("b", "read")]), ["a_read", "list", "b_read"]);
});

Deno.test("modelNames() gives names that models accept, unique, whatever the servers call their tools", () => {
  const tools = [
    ...named("a", "x/y", "x.y", "x_y", "", "ü".repeat(10), "l".repeat(200), "l".repeat(201)),
    ...named("a.b", "x/y"),
    ...named("a_b", "x/y"),
    ...named("c", "complete_task"),
  ];
  const names = modelNames(tools, ["complete_task"]);
  assert.equal(new Set([...names, "complete_task"]).size, tools.length + 1);
  for (const name of names) assert.match(name, /^[a-zA-Z0-9_-]{1,64}$/);
  const backwards = modelNames(tools.toReversed(), ["complete_task"]).toReversed();
  assert.deepEqual(backwards, names);
});

Deno.test("schemaHash is the same in any order and changes with a schema", () => {
  const [a, b] = [{ name: "a" }, { name: "b", inputSchema: { type: "object", properties: { x: { type: "number" } } } }];
  const changed = { name: "b", inputSchema: { type: "object", properties: { x: { type: "string" } } } };
  assert.equal(catalogOf(a, b).schema_hash, catalogOf(b, a).schema_hash);
  assert.notEqual(catalogOf(a, b).schema_hash, catalogOf(a, changed).schema_hash);
});

Deno.test("filterTools() fails closed when a named tool is not offered", () => {
  const { tools } = catalogOf({ name: "read" }, { name: "write" });
  assert.deepEqual(filterTools("s", tools, { deny: ["write"] }).map((tool) => tool.name), ["read"]);
  assert.throws(() => filterTools("s", tools, { tools: ["raed"] }), (error) => {
    assert(error instanceof HoneError);
    assert.equal(error.message, 'Server "s" does not offer "raed", which servers.s names');
    return error.hint === "it offers read, write";
  });
});

Deno.test("toolSpec() survives tools without schema, description or sense", () => {
  const tool = toolSpec("s", {
    name: "odd",
    inputSchema: "no",
    annotations: { readOnlyHint: "yes", idempotentHint: true },
  });
  assert.deepEqual(tool.input_schema, { type: "object" });
  assert.deepEqual(tool.annotations, { idempotent: true });
  assert(tool.tokens > 0);
});

Deno.test("argumentProblem() tells a model what to change", () => {
  const schema = {
    type: "object",
    properties: { path: { type: "string" }, mode: { enum: ["r", "w"] }, at: { type: "object", required: ["x"] } },
    required: ["path", "content"],
    additionalProperties: false,
  };
  assert.equal(argumentProblem(schema, { path: "a", content: "b" }), '"content" is not an argument of this tool');
  assert.equal(
    argumentProblem(schema, { path: 1, mode: "x", at: {} }),
    '"content" is missing; "path" must be string; "mode" must be one of "r","w"; "at.x" is missing',
  );
  assert.equal(argumentProblem({ type: "object" }, JSON.parse('{"__proto__": 1}')), null);
});

Deno.test("argumentProblem() checks nothing when the schema cannot be used", () => {
  for (const schema of [{ type: "banana" }, { $ref: "https://nowhere.invalid/x" }, { pattern: "(" }] as JsonObject[]) {
    assert.equal(argumentProblem(schema, { a: 1 }), null);
    assert.notEqual(schemaProblem(schema), null);
  }
  assert.equal(schemaProblem({ $schema: "http://json-schema.org/draft-07/schema#", type: "object" }), null);
  assert.equal(schemaProblem({ $schema: "https://json-schema.org/draft/2020-12/schema", type: "object" }), null);
});

Deno.test("resultText() joins text and names the rest", () => {
  const content = [
    { type: "text", text: "one" },
    { type: "audio", mimeType: "audio/wav", data: "AAA=" },
    { type: "resource_link", uri: "file:///a", name: "a" },
    { type: "resource", resource: { uri: "file:///b", text: "two" } },
    { type: "resource", resource: { uri: "file:///c", mimeType: "x/y", blob: "AA==" } },
  ];
  assert.equal(
    resultText({ content }),
    "one\n[audio: audio/wav, 2 bytes]\n[resource: file:///a (a)]\n[resource: file:///b]\ntwo\n[resource: file:///c, x/y, 1 bytes]",
  );
  assert.equal(resultText({ content: [], structuredContent: { a: 1 } }), '{"a":1}');
  assert.equal(resourceText([{ uri: "u", text: "t" }]), "[resource: u]\nt");
  const folder = [{ uri: "file:///d/", mimeType: "inode/directory" }, { uri: "file:///d/a", text: "" }, { uri: "x" }];
  assert.equal(
    resourceText(folder),
    "[resource: file:///d/, inode/directory]\n[resource: file:///d/a]\n\n[resource: x, without content]",
  );
  assert.equal(resourceText("no list"), "[a resource without content]");
});

Deno.test("filterTools() reads names and patterns", () => {
  const { tools } = catalogOf(
    ...["read_file", "read_dir", "write_file", "files.read", "a*b"].map((name) => ({ name })),
  );
  const kept = (filter: Parameters<typeof filterTools>[2]) => filterTools("s", tools, filter).map(({ name }) => name);
  assert.deepEqual(kept({ tools: ["read_*"] }), ["read_file", "read_dir"]);
  assert.deepEqual(kept({ tools: ["*read*"], deny: ["*_dir", "delete_*"] }), ["read_file", "files.read"]);
  assert.deepEqual(kept({ tools: ["*"], deny: ["*_*"] }), ["files.read", "a*b"]);
  assert.deepEqual(kept({ tools: ["r*_*e"] }), ["read_file"]);
  assert.throws(() => kept({ tools: ["files.re*ead"] }), { code: "TOOLS_MISSING" });
  assert.throws(() => kept({ tools: ["move_*"] }), {
    message: 'Server "s" does not offer "move_*", which servers.s names',
  });
  assert.throws(() => kept({ deny: ["wirte_file"] }), {
    message: 'Server "s" does not offer "wirte_file", which servers.s names',
  });
});
