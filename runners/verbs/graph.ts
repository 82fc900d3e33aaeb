/**
 * `hone graph`: how a pipeline's stages are connected: which events each consumes and publishes, and how many it
 * handles concurrently. Shows the rows of `pipeline/run/bindings.ts` that a run of the pipeline would use.
 * @module
 */
import { z } from "zod";
import { type LoadedPipeline, loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { readYaml } from "../../pipeline/config/source.ts";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { EventName } from "../../pipeline/events.ts";
import { flowOf } from "../../pipeline/run/bindings.ts";
import { builtins } from "../../plugins/mod.ts";
import { approval, yes } from "./consent.ts";
import { defineVerb, indented } from "./verb.ts";

const binding = z.object({
  name: z.string(),
  kind: z.string().optional().describe("Kind of its stages; absent for hone's own bindings."),
  stages: z.array(z.object({ id: z.string(), use: z.string() })),
  consumes: z.array(z.string()).describe("Events that it handles; `*`: observes all events and handles none."),
  produces: z.array(z.string()),
  concurrency: z.int().describe("Events of each type that each of its stages handles concurrently."),
});

const graph = z.object({
  driver: z.enum(["online", "hosted"]).describe("Mode of the trainer; online if there is none."),
  bindings: z.array(binding).describe("In the order of a run."),
});
type Binding = z.output<typeof binding>;
type Graph = z.output<typeof graph>;

/** Published when the run is opened, not by a binding. */
const OPENING: EventName = "run.started";

export default defineVerb({
  name: "graph",
  summary: "Show how a pipeline's stages are connected by events.",
  description:
    "Prints one line per part of a run: the events that it consumes, its stages and the events that it publishes. " +
    "Only plugins are loaded, once they are approved. `--format mermaid` prints a diagram that Markdown viewers render.",
  effect: "reads",
  restricted: "This server shows only pipelines of built-in plugins.",
  positional: [{ name: "pipeline", description: "A pipeline's YAML file." }],
  args: z.strictObject({ yes }),
  result: graph,
  examples: [
    "hone graph examples/files/pipeline.yaml",
    "hone graph examples/files/pipeline.yaml --format mermaid",
  ],
  async run(call): Promise<Graph> {
    const { positional, signal, caller } = call;
    const file = await caller.within(positional[0]!);
    const approve = approval(call, file, { of: "plugins" });
    const loaded = await loadPipeline(file, { builtins, signal, world: caller.loads_code !== false, approve });
    if (!caller.loads_code) mustBeBuiltIn(loaded);
    return graphOf(loaded);
  },
  formats: { json: indented, mermaid },
  text,
});

/** Throws if a stage was not loaded: the graph would be incomplete. */
function mustBeBuiltIn({ text, path }: LoadedPipeline) {
  const { stages } = readYaml(text, path) as { stages: { use: string }[] };
  const own = stages.find(({ use }) => !Object.hasOwn(builtins, use));
  if (own) throw new HoneError(cli.plugin_not_allowed(own.use, Object.keys(builtins)));
}

function graphOf({ config, stages, hosted }: LoadedPipeline): Graph {
  const flow = flowOf((kind) => stages.some(({ plugin }) => plugin.kind === kind), hosted);
  const published = new Set<EventName>([OPENING, ...flow.flatMap(({ produces }) => produces)]);
  const awaited = (types: readonly EventName[]) => types.filter((type) => published.has(type));
  return {
    driver: hosted ? "hosted" : "online",
    bindings: flow.map(({ name, kind, consumes, produces, watches, concurrency }) => ({
      name,
      ...(kind && { kind }),
      stages: stages.filter(({ plugin }) => plugin.kind === kind).map(({ id, use }) => ({ id, use })),
      consumes: watches ? ["*"] : awaited(consumes),
      produces: [...produces],
      concurrency: concurrency?.(config) ?? 1,
    })),
  };
}

/** Each binding between its events, in columns. */
function text({ bindings }: Graph): string {
  const rows = bindings.map((one) => ({
    left: one.consumes.map((type) => type === "*" ? "every event" : type),
    middle: titleOf(one),
    right: one.produces,
  }));
  const widest = (side: "left" | "middle") => Math.max(...rows.flatMap((row) => row[side]).map(({ length }) => length));
  const [left_width, middle_width] = [widest("left"), widest("middle")];
  return rows.map(({ left, middle, right }) =>
    Array.from({ length: Math.max(left.length, middle.length, right.length) }, (_, line) => {
      const arrow = line === 0 ? " → " : "   ";
      const published = right[line] ? arrow + right[line] : "";
      const [from, by] = [(left[line] ?? "").padEnd(left_width), (middle[line] ?? "").padEnd(middle_width)];
      return `${from}${arrow}${by}${published}`.trimEnd();
    }).join("\n")
  ).join("\n\n");
}

/** Name, stages, and the number of events that it handles concurrently if it is more than one. */
function titleOf({ name, stages, concurrency }: Binding): string[] {
  return [
    `${name}${concurrency > 1 ? ` (${concurrency} events at once)` : ""}`,
    ...stages.map(({ id, use }) => `  ${id}: ${use}`),
  ];
}

/** A flowchart: bindings are nodes, events are edges; events without a consumer are omitted. */
function mermaid({ bindings }: Graph): string {
  const nodes = bindings.map((one, index) => {
    const label = [one.name, ...one.stages.map(({ id, use }) => `${id}: ${use}`)].map(escaped).join("<br>");
    return `  b${index}["${label}"]`;
  });
  const edges = bindings.flatMap(({ consumes }, to) => [
    ...(consumes.includes(OPENING) ? [`  run(("run")) -- "${OPENING}" --> b${to}`] : []),
    ...(consumes.includes("*") ? [`  run -. "every event" .-> b${to}`] : []),
    ...bindings.flatMap(({ produces }, from) => {
      const shared = produces.filter((type) => consumes.includes(type));
      return shared.length > 0 ? [`  b${from} -- "${shared.join("<br>")}" --> b${to}`] : [];
    }),
  ]);
  return ["flowchart TD", ...nodes, ...edges].join("\n");
}

function escaped(text: string): string {
  return text.replaceAll(/[&"<>#]/g, (character) => `#${character.charCodeAt(0)};`);
}
