/** The rollout: (scenario, policy, environment, seed) → turns and tool calls, ending in the outcome. @module */
import type { Roles, RolloutArgs } from "../plugin.ts";
import { type KindFacts, mustHave } from "./kind.ts";

const FIELDS = {
  turn: { index: "number", text: "string", tool_calls: "array", finish_reason: "string" },
  tool_call: { turn: "number", tool: "string", outcome: "string", text: "string" },
};

/** Runs to the end and checks each record. */
async function play(role: Roles["rollout"], args: RolloutArgs) {
  const records = role.run(args);
  for (;;) {
    const { done, value } = await records.next();
    if (done) return mustHave(value, "the outcome", { end: "string" });
    const fields = FIELDS[value.type];
    if (!fields) throw new Error(`a record's type is ${JSON.stringify(value.type)}: expected turn or tool_call`);
    mustHave(value, `a ${value.type}`, fields);
  }
}

/** See `KindFacts`. */
export const rollout: KindFacts<"rollout"> = {
  most: 1,
  why: "A run needs one to attempt the tasks",
  methods: ["run"],
  check: async (role, given) => void await play(role, given.rollout),
  aborted: (role, { rollout, signal }) => play(role, { ...rollout, signal }),
  template: {
    summary: "Queries the policy once, without tools, and uses its text as the answer.",
    types: ["Outcome", "RolloutRecord"],
    config: `  preface: z.string().default("").describe("Text inserted before every task."),`,
    example: `{ preface: "Answer in one word." }`,
    create: `({ config }) => ({
    async *run({ scenario, policy, agent, seed, signal }): AsyncGenerator<RolloutRecord, Outcome> {
      const content = [config.preface, scenario.task].filter(Boolean).join("\\n");
      const { max_tokens, temperature } = policy.sampling;
      const started = performance.now();
      const response = await fetch(\`\${policy.base_url}/chat/completions\`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(policy.api_key && { authorization: \`Bearer \${policy.api_key}\` }),
          ...policy.headers,
        },
        body: JSON.stringify({
          model: policy.model,
          messages: [{ role: "system", content: agent.system_prompt }, { role: "user", content }],
          max_tokens,
          temperature,
          seed,
        }),
        signal,
      }).catch((error) => new Response(String(error), { status: 502 }));
      if (!response.ok) return { end: "endpoint_failed", answer: null, cause: await response.text() };
      const { choices, usage } = await response.json();
      const text: string = choices[0].message.content ?? "";
      yield {
        type: "turn",
        index: 0,
        input: [{ role: "user", content }],
        text,
        tool_calls: [],
        finish_reason: choices[0].finish_reason,
        prompt_tokens: usage?.prompt_tokens ?? 0,
        output_tokens: usage?.completion_tokens ?? 0,
        seconds: (performance.now() - started) / 1000,
      };
      return { end: "answered", answer: text };
    },
  })`,
  },
};
