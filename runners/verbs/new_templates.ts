/**
 * The texts that `hone new` writes: for each kind a small plugin that works, to be changed into another.
 * @module
 */
import type { Kind } from "../../pipeline/plugin.ts";

interface Template {
  summary: string;
  /** Types imported from hone, beside Plugin. */
  types: string[];
  /** Source of the settings schema. */
  config: string;
  /** Source of the example's settings. */
  example: string;
  /** Source of `create`. */
  create: string;
}

const templates: Record<Kind, Template> = {
  discoverer: {
    summary: "Offers the agent the tools of all servers, without those that are left out.",
    types: ["Catalog"],
    config: `  without: z.array(z.string()).default([]).describe("Tools to leave out."),`,
    example: `{ without: ["delete_file"] }`,
    create: `({ config, log }) => ({
    async discover(servers, connect): Promise<Catalog> {
      const catalogs = await Promise.all(servers.map(connect));
      const tools = catalogs.flatMap((catalog) => catalog.tools).filter((tool) => !config.without.includes(tool.name));
      log.info(\`\${tools.length} tools\`);
      const schema_hash = catalogs.map((catalog) => catalog.schema_hash).join("+");
      return { servers: catalogs.flatMap((catalog) => catalog.servers), tools, schema_hash };
    },
  })`,
  },
  "scenario-source": {
    summary: "Asks for one file a name, and checks that it is there.",
    types: ["Scenario"],
    config: `  names: z.array(z.string()).default(["apple", "pear"]).describe("What the files are about."),`,
    example: `{ names: ["plum"] }`,
    create: `({ config }) => ({
    *produce(): Generator<Scenario> {
      for (const [i, name] of config.names.entries()) {
        yield {
          id: \`write_\${name}\`,
          task: \`Write the word \${name} to \${name}.txt.\`,
          split: i % 2 === 0 ? "train" : "heldout",
          tags: ["write"],
          checks: [{ file: \`\${name}.txt\`, contains: name }],
        };
      }
    },
  })`,
  },
  rollout: {
    summary: "Asks the policy once, without tools, and takes its text as the answer.",
    types: ["Outcome", "RolloutRecord"],
    config: `  preface: z.string().default("").describe("Text put before every task."),`,
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
      });
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
  judge: {
    summary: "Scores 1 when the answer has a word, else 0.",
    types: ["Verdictlet"],
    config: `  word: z.string().default("done").describe("Word that the answer must have."),`,
    example: `{ word: "thanks" }`,
    create: `({ config }) => ({
    scale: "absolute",
    decisive: false, // true where a score of 1 is what success means
    judge(group): Verdictlet[] {
      return group.map(({ outcome }) =>
        outcome.answer?.toLowerCase().includes(config.word.toLowerCase())
          ? { score: 1, reason: \`the answer has "\${config.word}"\` }
          : { score: 0, reason: \`the answer lacks "\${config.word}"\` }
      );
    },
  })`,
  },
  "reward-shaper": {
    summary: "Takes the mean of all scores, and something off for every turn.",
    types: [],
    config: `  turn_cost: z.number().min(0).default(0.01).describe("Taken off for every turn."),`,
    example: `{ turn_cost: 0 }`,
    create: `({ config }) => ({
    shape(trajectory, judgements) {
      const scores: number[] = [];
      for (const [judge, verdict] of Object.entries(judgements)) {
        if ("invalid" in verdict) return { invalid: \`\${judge}: \${verdict.invalid}\` };
        scores.push(verdict.score);
      }
      const mean = scores.reduce((sum, score) => sum + score, 0) / Math.max(1, scores.length);
      const turns = -config.turn_cost * trajectory.turns.length;
      return { value: mean + turns, parts: { mean, turns } };
    },
  })`,
  },
  trainer: {
    summary: "Trains through a service of your own.",
    types: ["OnlineTrainer"],
    config: `  service_url: z.string().default("http://127.0.0.1:9000").describe("Address of the training service."),`,
    example: `{ service_url: "http://127.0.0.1:9000" }`,
    create: `({ config }) => ({
    mode: "online",
    async open({ model, on_progress, seed }): Promise<OnlineTrainer> {
      on_progress(\`opening \${model}\`);
      const response = await fetch(\`\${config.service_url}/open\`, { method: "POST", body: JSON.stringify({ model, seed }) });
      // A trainer serves its policy and takes steps: see OnlineTrainer for what has to be returned here.
      throw new Error(\`\${config.service_url} answered \${response.status}, and this plugin does not speak with it yet\`);
    },
  })`,
  },
  exporter: {
    summary: "Writes the adapter, and a note of what it is.",
    types: [],
    config: `  note: z.string().default("").describe("Text put into the note."),`,
    example: `{ note: "for the demo" }`,
    create: `({ config }) => ({
    async export({ dir, policy, verdict, write_adapter }) {
      const proof = await write_adapter(dir);
      const note = { policy: policy.name, version: policy.version, sentence: verdict.sentence, note: config.note };
      await Deno.writeTextFile(\`\${dir}/note.json\`, JSON.stringify(note, null, 2));
      return { dir, proof };
    },
  })`,
  },
};

/** The plugin's file. */
export function pluginText(kind: Kind, name: string): string {
  const { summary, types, config, example, create } = templates[kind];
  const imported = [...types.map((type) => `type ${type}`), "definePlugin", "type Plugin"]
    .sort((a, b) => a.replace("type ", "").toLowerCase() < b.replace("type ", "").toLowerCase() ? -1 : 1);
  return `/** ${summary} @module */
import { ${imported.join(", ")} } from "@hone/hone";
import { z } from "zod";

const config = z.strictObject({
${config}
});

const plugin: Plugin<"${kind}"> = definePlugin({
  kind: "${kind}",
  name: "${name}",
  summary: "${summary}",
  config,
  examples: [{ title: "As an example", with: ${example} }],
  create: ${create},
});
export default plugin;
`;
}

const role_tests: Partial<Record<Kind, (stem: string) => string>> = {
  judge: (stem) => `
Deno.test("judge() scores 1 when the answer has the word", async () => {
  const role = await plugin.create(fakeContext({ word: "thanks" }));
  const outcome = { end: "answered" as const, answer: "Many thanks" };
  const [verdict] = await role.judge([fakeTrajectory({ outcome })], fakeScenario({ id: "${stem}" }));
  assert.deepEqual(verdict, { score: 1, reason: 'the answer has "thanks"' });
});
`,
};

/** The plugin's test. */
export function testText(kind: Kind, stem: string): string {
  const own = role_tests[kind]?.(stem) ?? "";
  const helpers = own ? "conformance, fakeContext, fakeScenario, fakeTrajectory" : "conformance";
  return `${own ? 'import assert from "node:assert/strict";\n' : ""}import { ${helpers} } from "@hone/hone/testing";
import plugin from "./${stem}.ts";

conformance(plugin);
${own}`;
}
