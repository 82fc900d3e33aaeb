import assert from "node:assert/strict";
import { HoneError } from "../diagnostics/mod.ts";
import type { Scenario, ToolSpec } from "../events.ts";
import calls from "../../plugins/judge/calls.ts";
import { asPart } from "./parts.ts";
import { chooseAll, chooseTools, neededTools } from "./tool_lists.ts";

const tools: ToolSpec[] = Array.from({ length: 253 }, (_, i) => ({
  server: i < 200 ? "big" : "small",
  name: `do.${i}`,
  model_name: `do_${i}`,
  description: "Does it.",
  input_schema: { type: "object" },
  annotations: {},
  tokens: 100,
}));
const cost = () => 100;
const parts = [asPart(calls, true)!];
const choice = { tools, parts, budget_tokens: 1050, seed: 7, cost };
const scenario = (id: string, more: Partial<Scenario> = {}): Scenario => ({
  id,
  task: "Do it.",
  split: "train",
  tags: [],
  checks: [],
  ...more,
});
const call = (tool: string, server?: string) => ({ tool, arguments: {}, ...(server && { server }) });
const names = (chosen: ToolSpec[]) => chosen.map(({ model_name }) => model_name);

Deno.test("chooseTools() fills what is needed up to the budget with others, the same for the same seed", () => {
  const one = scenario("one", { solution: { calls: [call("do.250"), call("do_3")], answer: "" } });
  const chosen = names(chooseTools(one, choice));
  assert.equal(chosen.length, 10);
  assert.ok(chosen.includes("do_250") && chosen.includes("do_3"));
  assert.deepEqual(chosen, names(tools).filter((name) => chosen.includes(name)), "in the catalog's order");
  assert.deepEqual(names(chooseTools(one, choice)), chosen);
  assert.notDeepEqual(names(chooseTools(one, { ...choice, seed: 8 })), chosen);
  assert.notDeepEqual(names(chooseTools({ ...one, id: "two" }, choice)), chosen);
  const without = tools.filter(({ name }) => chosen.includes(name) || name !== "do.99");
  assert.deepEqual(names(chooseTools(one, { ...choice, tools: without })), chosen, "a tool that was not chosen may go");
  const tempted = chooseTools({ ...one, calls: { forbidden: ["do.17"] } }, choice);
  assert.ok(names(tempted).includes("do_17"));
});

Deno.test("neededTools() reads tools, expected calls and the solution, and keeps servers apart", () => {
  const expected = scenario("e", { calls: { expected: [call("do.1"), call("do.2", "small")] } });
  assert.deepEqual(names(neededTools(expected, choice)!), ["do_1"]);
  assert.deepEqual(names(neededTools(scenario("t", { tools: ["do_5", "do.6"] }), choice)!), ["do_5", "do_6"]);
  assert.deepEqual(neededTools(scenario("n", { calls: { expected: [] } }), choice), []);
  assert.equal(neededTools(scenario("m"), choice), null);
});

Deno.test("chooseAll() leaves scenarios alone that fit, and their own lists always", () => {
  const all = [scenario("a"), scenario("b", { tools: ["do_1"] })];
  assert.equal(chooseAll(all, { ...choice, budget_tokens: 25_300 }), all);
  const [own, idle] = chooseAll([all[1]!, scenario("c", { calls: { expected: [] } })], choice);
  assert.deepEqual([own!.tools, idle!.tools!.length], [["do_1"], 10]);
});

Deno.test("chooseAll() refuses with the numbers what cannot fit", () => {
  const needs = (id: string, count: number) =>
    scenario(id, { solution: { calls: tools.slice(0, count).map(({ name }) => call(name)), answer: "" } });
  assert.throws(
    () => chooseAll([needs("much", 12), needs("more", 13), scenario("mute"), scenario("dumb")], choice),
    (error) => {
      assert(error instanceof HoneError);
      assert.deepEqual(error.diagnostics, [{
        code: "TOOLS_OVER_BUDGET",
        message:
          'Cannot keep to agent.tool_budget_tokens 1,050: the tools that scenario "more" (and 1 other) needs take ' +
          "about 1,300 tokens (do_0, do_1, do_2, do_3, do_4, do_5, do_6, do_7, …)",
        hint: "set it to 1300 or more",
      }, {
        code: "TOOLS_UNKNOWN",
        message:
          'Cannot choose tools for scenario "mute" (and 1 other): it does not name the tools that it needs, and all 253 take ' +
          "about 25,300 tokens, more than agent.tool_budget_tokens 1,050",
        hint: "add tools, calls.expected or a solution to it; or set agent.tool_budget_tokens to 25300 or more",
      }]);
      return true;
    },
  );
});
