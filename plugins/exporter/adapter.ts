/**
 * Writes the trained adapter with everything needed to use it as evaluated: PEFT files (by the trainer), `hone.json`
 * (base model, prompt, tools as the model saw them, stop ids, hashes, verdict, load checks) and `README.md`, a model
 * card. An adapter that equals the base model is written too, and its card says so.
 * @module
 */
import {
  type Catalog,
  definePlugin,
  type ExportArgs,
  type Json,
  type JsonObject,
  type ModelFacts,
  type Plugin,
  renderTools,
  type Verdict,
} from "@hone/hone";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, rename, stat, writeFile } from "node:fs/promises";
import { basename, isAbsolute, join } from "node:path";
import { z } from "zod";
import { hone_json, type HoneJson } from "./hone_json.ts";

const config = z.strictObject({
  license: z.string().optional().describe("License of the adapter for its model card, as a Hugging Face license id.")
    .meta({
      examples: ["apache-2.0"],
    }),
});

type Config = z.output<typeof config>;

const plugin: Plugin<"exporter"> = definePlugin({
  kind: "exporter",
  name: "adapter",
  summary: "Writes the adapter in PEFT layout, with a model card and everything needed to use it as evaluated.",
  config,
  examples: [
    { title: "Defaults", with: {} },
    { title: "With a license in the model card", with: { license: "apache-2.0" } },
  ],
  create: ({ config, log }) => ({
    needs: ["peft"],
    async export(args) {
      const { dir, policy } = args;
      const written = await args.weights({ format: "peft", dir });
      const proof = asObject(written.proof) ?? written;
      if (unchanged(proof)) {
        log.warn(`the adapter of ${policy.name} equals the base model: no training step had a learning signal`);
      }
      await mkdir(dir, { recursive: true });
      const facts = describe(args, written, proof, await weightsHash(args.model.path));
      await writeWhole(join(dir, "hone.json"), JSON.stringify(hone_json.parse(facts), null, 2) + "\n");
      await writeWhole(join(dir, "README.md"), card(args, proof, config));
      log.info(`the LoRA weights of ${policy.name} are in ${dir}`);
      return { dir, proof };
    },
  }),
});
export default plugin;

/** The contents of `hone.json`. */
function describe(
  { policy, agent, catalog, verdict, model }: ExportArgs,
  written: JsonObject,
  proof: JsonObject,
  weights_sha256: string | null,
): HoneJson {
  const { run, run_id, split, sampling, scenarios, tries, difference, sentence, notes } = verdict;
  return {
    schema: "adapter.v1",
    policy: { name: policy.name, version: policy.version },
    base_model: {
      ...pick(model, ["id", "hub_id", "architecture", "parameters", "vocab_size", "context_tokens"]),
      weights_sha256,
    },
    template_sha256: model.template_sha256 ?? null,
    stop_token_ids: model.eos_token_ids ?? [],
    system_prompt: agent.system_prompt,
    tool_format: policy.tool_format,
    tools_text: renderTools(catalog.tools, policy.tool_format),
    tools: catalog.tools.map(({ annotations: _, tokens: __, ...tool }) => tool),
    sampling: policy.sampling,
    limits: {
      max_turns: agent.max_turns,
      max_tokens: agent.max_tokens,
      max_result_chars: agent.max_result_chars,
      max_history_chars: agent.max_history_chars ?? null,
      tool_budget_tokens: agent.tool_budget_tokens ?? null,
    },
    tool_schemas: agent.tool_schemas ?? "full",
    catalog_schema_hash: catalog.schema_hash,
    servers: catalog.servers.map(({ name, implementation, protocol }) => ({ name, implementation, protocol })),
    verdict: {
      run,
      run_id,
      split,
      sampling,
      scenarios,
      tries,
      difference: difference && { ...difference },
      sentence,
      notes,
    },
    success: success(verdict).map(([name, { mean, low, high, n }]) => ({ policy: name, mean, low, high, n })),
    files: Array.isArray(written.files) ? written.files : [],
    proof,
  };
}

/** Hash of the base model's weight files, concatenated in order of their names; null if they are not on disk. */
async function weightsHash(path: string | undefined): Promise<string | null> {
  const found = path !== undefined ? await stat(path).catch(() => null) : null;
  if (typeof path !== "string" || !found) return null;
  const names = found.isDirectory() ? (await readdir(path)).filter((name) => WEIGHTS.test(name)).sort() : [""];
  if (names.length === 0) return null;
  const hash = createHash("sha256");
  for (const name of names) {
    for await (const chunk of createReadStream(join(path, name))) hash.update(chunk);
  }
  return hash.digest("hex");
}

const WEIGHTS = /\.(safetensors|gguf)$/;

/** The model card. */
function card({ policy, agent, catalog, verdict, model }: ExportArgs, proof: JsonObject, { license }: Config): string {
  const id = nameOf(model);
  const head = ["---", `base_model: ${JSON.stringify(id)}`, "library_name: peft", "pipeline_tag: text-generation"];
  const rows = success(verdict).map(([name, { mean, low, high, n }]) =>
    `| ${cell(name)} | ${percent(mean)} | ${percent(low)} to ${percent(high)} | ${n} |`
  );
  const facts = Object.entries(proof).map(([name, value]) => `- ${cell(name)}: ${JSON.stringify(value)}`);
  const tools = catalog.tools.map(({ model_name }) => `\`${model_name}\``).join(", ");
  return [
    [...head, ...(license ? [`license: ${JSON.stringify(license)}`] : []), "tags: [hone, lora, mcp]", "---"].join("\n"),
    `# ${cell(policy.name)}: a LoRA adapter for ${cell(id)}`,
    `Trained by hone to use ${servers(catalog)}.`,
    unchanged(proof) && "This adapter has no effect: it equals the base model.",
    verdict.sentence,
    rows.length > 0 && ["| policy | success | 95 % interval | rollouts |", "|---|---|---|---|", ...rows].join("\n"),
    "## Use",
    `Load \`adapter_model.safetensors\` with PEFT, vLLM or MLX on ${cell(id)}. The figures above hold for the prompt ` +
    `in \`hone.json\`: \`system_prompt\`, then \`tools_text\`, tool calls in the ${policy.tool_format} format, at most ` +
    `${agent.max_turns} turns of ${agent.max_tokens} tokens. Another prompt, template or tool list is another policy.`,
    `Tools: ${tools || "none"}. Schema hash of the catalog: \`${catalog.schema_hash}\`.`,
    "## Proof",
    facts.length > 0 ? facts.join("\n") : "The trainer provided none.",
  ].filter(Boolean).join("\n\n") + "\n";
}

/** The base model's name on the hub; otherwise as in the pipeline file, without a folder of this machine. */
function nameOf({ id, hub_id }: ModelFacts): string {
  return hub_id ?? (isAbsolute(id) ? basename(id) : id);
}

function unchanged(proof: JsonObject): boolean {
  return proof.changed_tensors === 0;
}

/** Success by policy, from the verdict. */
function success({ policies }: Verdict): [string, Verdict["policies"][string]["success"]][] {
  return Object.entries(policies).map(([name, summary]) => [name, summary.success]);
}

function servers({ servers }: Catalog): string {
  const named = servers.map(({ implementation: { name, version } }) => cell(`${name} ${version}`));
  return named.length > 0 ? named.join(", ") : "no server";
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Text escaped for a table cell, a heading or a line. */
function cell(text: string): string {
  return text.replace(/\s+/g, " ").replace(/[|<>`*_\[\]\\]/g, "\\$&");
}

function pick(from: ModelFacts, keys: string[]): JsonObject {
  return Object.fromEntries(keys.flatMap((key) => from[key] === undefined ? [] : [[key, from[key]]]));
}

function asObject(value: Json | undefined): JsonObject | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
}

async function writeWhole(path: string, text: string) {
  await writeFile(`${path}.writing`, text);
  await rename(`${path}.writing`, path);
}
