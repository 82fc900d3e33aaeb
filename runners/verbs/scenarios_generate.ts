/** `hone scenarios generate`: writes the scenarios that a pipeline generates to a file. @module */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { readText } from "../../pipeline/common/read_text.ts";
import { writeText } from "../../pipeline/common/write_aside.ts";
import { type LoadedPipeline, loadPipeline } from "../../pipeline/config/pipeline_file.ts";
import { cli, counted, HoneError } from "../../pipeline/diagnostics/mod.ts";
import type { Scenario } from "../../pipeline/events.ts";
import { SCENARIOS_FOLDER } from "../../pipeline/store/run_folder.ts";
import { builtins } from "../../plugins/mod.ts";
import { approval } from "./consent.ts";
import { overridesOf, performing } from "./new_run.ts";
import { defineVerb, indented } from "./verb.ts";

const GENERATE = "scenario-source/generate";

const splits = z.object({ train: z.int(), validation: z.int(), heldout: z.int() });

/** The result. */
interface Generated {
  scenarios: number;
  splits: z.output<typeof splits>;
  out: string;
  coverage: Record<string, unknown>;
}

export default defineVerb({
  name: "scenarios generate",
  summary: "Write a pipeline's generated scenarios to a file.",
  description:
    "Starts the pipeline's servers and runs its `scenario-source/generate` stages, without model or trainer, then writes " +
    "the scenarios as JSON lines, which `scenario-source/file` reads. A scenario is kept only if trials on the real " +
    "servers show that its solution reaches the goal and that doing nothing does not. What was generated before is read " +
    "from hone's cache.",
  effect: "runs",
  positional: [{ name: "pipeline", description: "The pipeline's YAML file." }],
  args: z.strictObject({
    out: z.string().min(1).describe("File to write the scenarios to.").meta({ examples: ["scenarios.jsonl"] }),
    set: z.array(z.string()).default([]).describe(
      "Override a value of the file, for example stages.generate.with.count=40; repeatable.",
    ),
    ...performing,
  }),
  result: z.object({
    scenarios: z.int(),
    splits,
    out: z.string().describe("The file."),
    coverage: z.record(z.string(), z.unknown()).describe(
      "By stage: scenarios by family, by combination of tools, and by tool and kind of argument; what was dropped, and why.",
    ),
  }),
  examples: ["hone scenarios generate examples/generate/files.yaml --out scenarios.jsonl"],
  async run(call): Promise<Generated> {
    const { args, positional, signal, caller } = call;
    const options = { builtins, signal, overrides: overridesOf(args.set), approve: approval(call, positional[0]!) };
    const loaded = onlyGenerating(await loadPipeline(positional[0]!, options), positional[0]!);
    // Loaded once the pipeline is known to be valid: it loads the database.
    const { withScenarios } = await import("../../pipeline/run/open_run.ts");
    return await withScenarios(loaded, {
      signal,
      on_progress: (read) => caller.progress(read),
      on_log: (level, message) => (level !== "debug" || args.verbose) && caller.log(level, message),
    }, async ({ scenarios, run_dir }) => {
      await writeText(args.out, scenarios.map((one) => `${JSON.stringify(one)}\n`).join(""));
      const count = (split: Scenario["split"]) => scenarios.filter((one) => one.split === split).length;
      const by_split = { train: count("train"), validation: count("validation"), heldout: count("heldout") };
      return { scenarios: scenarios.length, splits: by_split, out: args.out, coverage: await coverageIn(run_dir) };
    });
  },
  formats: { json: indented },
  text: ({ scenarios, splits: { train, validation, heldout }, out }) =>
    `${out}: ${counted(scenarios, "scenario")}, ${train} train, ${validation} validation, ${heldout} held-out`,
});

/** The pipeline without its other sources of scenarios. */
function onlyGenerating(loaded: LoadedPipeline, path: string): LoadedPipeline {
  const stages = loaded.stages.filter(({ plugin: { kind }, use }) => kind !== "scenario-source" || use === GENERATE);
  if (!stages.some(({ use }) => use === GENERATE)) throw new HoneError(cli.nothing_generates(path, GENERATE));
  return { ...loaded, stages };
}

/** What the stages have written about their sets, by stage. */
async function coverageIn(run_dir: string): Promise<Generated["coverage"]> {
  const folder = join(run_dir, SCENARIOS_FOLDER);
  const stages = (await readdir(folder).catch(() => [])).sort();
  const read = async (stage: string) => JSON.parse(await readText(join(folder, stage, "coverage.json")));
  return Object.fromEntries(await Promise.all(stages.map(async (stage) => [stage, await read(stage)])));
}
