/** What tests of tool lists share: a pipeline on the server whose tools stand in a file, evaluated by a scripted endpoint. @module */
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";

const SERVER = new URL("../fixtures/changing_server.ts", import.meta.url).pathname;
const CONFIG = resolve(SERVER, "../../../deno.json");

/** The server's command; its tools are those of `file`. */
export function changingServer(file: string, ...flags: string[]) {
  return { command: "deno", args: ["run", "-A", "--config", CONFIG, SERVER, file, ...flags] };
}

/** Writes what the server offers when it starts next. */
export async function writeTools(file: string, tools: object[], version = "1.0.0") {
  await writeFile(file, JSON.stringify({ version, tools }));
}

/** Writes `pipeline.yaml` and its scenarios into `dir`; returns the pipeline's path. */
export async function writePipeline(
  dir: string,
  { base_url, scenarios, server, agent = {}, endpoint = {} }: {
    base_url: string;
    scenarios: object[];
    server: object;
    agent?: object;
    endpoint?: object;
  },
): Promise<string> {
  const path = join(dir, "pipeline.yaml");
  const pipeline = {
    name: "lists",
    agent: { ...agent, endpoint: { base_url, model: "scripted", ...endpoint } },
    servers: { it: server },
    stages: [
      { use: "discoverer/mcp" },
      { use: "scenario-source/file", with: { path: "./scenarios.yaml" } },
      { use: "rollout/chat" },
      { use: "judge/answer" },
      { use: "reward-shaper/weighted" },
    ],
    evaluate: { policies: ["base"] },
  };
  await writeFile(path, JSON.stringify(pipeline));
  await writeFile(
    join(dir, "scenarios.yaml"),
    JSON.stringify(scenarios.map((one) => ({ split: "heldout", answer: { equals: "hello" }, ...one }))),
  );
  return path;
}
