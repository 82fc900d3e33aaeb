/** The judge: trajectories of a group → one judgement each. @module */
import type { CallSpec, Json, JsonObject, Judgement, Scenario } from "../events.ts";
import type { Environment, LlmRequest } from "../plugin.ts";
import type { Callbacks, Program } from "../program/program.ts";
import { checkedJudgements } from "./judgements.ts";
import { type Given, type KindFacts } from "./kind.ts";

const asked = ({ trajectory, scenario, signal, llm, catalog }: Given) => ({
  group: [trajectory, { ...trajectory, rollout_id: "r2" }],
  scenario,
  expected: undefined,
  signal,
  llm,
  tools: catalog.tools,
  labels: () => Promise.resolve([]),
});

async function observed(
  program: Program,
  method: "observe" | "observe_before",
  environment: Environment,
  scenario: Scenario,
  expected: unknown,
  before?: Json,
): Promise<Json> {
  const { id, workdir, tools } = environment;
  const callbacks: Callbacks = {
    call: (name, args) => environment.call(name as string, args as JsonObject),
    observe: (spec, options) => environment.observe(spec as CallSpec, options as { read_only?: boolean } | undefined),
  };
  const params = { environment: { id, workdir, tools }, scenario, expected, ...(before !== undefined && { before }) };
  return await program.call(method, params, callbacks) as Json;
}

/** See `KindFacts`. */
export const judge: KindFacts<"judge"> = {
  most: "any",
  why: "A run needs one that decides success",
  methods: ["judge"],
  exec: (program, { scale, decisive, observe, observe_before }) => ({
    scale,
    decisive,
    ...(observe && { observe: (...args) => observed(program, "observe", ...args) }),
    ...(observe_before && { observeBefore: (...args) => observed(program, "observe_before", ...args) }),
    judge: async ({ group, scenario, expected, llm, tools, labels }) => {
      const callbacks: Callbacks = {
        llm: (request) => llm.ask(request as LlmRequest),
        tools: () => Promise.resolve(tools),
        labels,
      };
      return await program.call("judge", { group, scenario, expected }, callbacks) as Judgement[];
    },
  }),
  check: async (role, given) => {
    if (role.scale !== "absolute" && role.scale !== "relative") throw new Error("scale must be absolute or relative");
    if (typeof role.decisive !== "boolean") throw new Error("decisive must be true or false");
    const args = asked(given);
    const made = checkedJudgements(await role.judge(args), args.group.length, given.plugin.name);
    const wrong = made.find((one) => "invalid" in one && /^judge "/.test(one.invalid));
    if (wrong) throw new Error((wrong as { invalid: string }).invalid);
    const { parts } = given.plugin;
    const odd = made.flatMap((one) => "score" in one ? Object.keys(one.parts ?? {}) : [])
      .find((part) => parts && !parts.includes(part));
    if (odd) throw new Error(`its scores have the part ${odd}, which the plugin's parts do not list`);
  },
  aborted: async (role, given) => await role.judge(asked(given)),
  template: {
    summary: "Scores 1 if the answer contains a word, otherwise 0.",
    types: ["Judgement"],
    config: `  word: z.string().default("done").describe("Word that the answer must contain."),`,
    example: `{ word: "thanks" }`,
    create: `({ config }) => ({
    scale: "absolute",
    decisive: false, // true: this judge determines success, which then requires a score of 1
    judge({ group }): Judgement[] {
      return group.map(({ outcome }) =>
        outcome.answer?.toLowerCase().includes(config.word.toLowerCase())
          ? { score: 1, reason: \`the answer contains "\${config.word}"\` }
          : { score: 0, reason: \`the answer lacks "\${config.word}"\` }
      );
    },
  })`,
    test: (stem) => `
Deno.test("judge() scores 1 if the answer contains the word", async () => {
  const role = await plugin.create(fakeContext({ word: "thanks" }));
  const outcome = { end: "answered" as const, answer: "Many thanks" };
  const args = fakeJudgeArgs({ group: [fakeTrajectory({ outcome })], scenario: fakeScenario({ id: "${stem}" }) });
  assert.deepEqual(await role.judge(args), [{ score: 1, reason: 'the answer contains "thanks"' }]);
});
`,
  },
};
