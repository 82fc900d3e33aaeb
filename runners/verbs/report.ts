/**
 * `hone report <run>`: regenerates the verdict of a run from its store and writes `verdict.json`, `report.md` and
 * `report.html`. Reads a live run through its socket.
 * @module
 */
import { existsSync } from "node:fs";
import { lstat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { textOf } from "../../pipeline/common/read_text.ts";
import { explain } from "../../pipeline/config/issues.ts";
import { policyPrices } from "../../pipeline/config/policy_prices.ts";
import { pipeline_schema } from "../../pipeline/config/pipeline_schema.ts";
import { Source } from "../../pipeline/config/source.ts";
import { cli, HoneError } from "../../pipeline/diagnostics/mod.ts";
import { openRun } from "../../pipeline/store/live_run.ts";
import { suiteNames } from "../../pipeline/run/run_suites.ts";
import { makeVerdict, type Verdict, withSuites, writeReports } from "../../pipeline/verdict/mod.ts";
import { namedRun } from "./named_run.ts";
import { verdict } from "./results.ts";
import { type Caller, defineVerb, terminalOnly } from "./verb.ts";

/** The fields of the run's own `pipeline.yaml` that the verdict needs. */
const settings = z.object(
  pipeline_schema.pick({ name: true, seed: true, agent: true, train: true, evaluate: true, model: true }).shape,
);

export default defineVerb({
  name: "report",
  summary: "Regenerate the verdict and the report of a run.",
  description:
    "Reads a run's records, recomputes its verdict and writes verdict.json, report.md and report.html to its folder. Also " +
    "works on a live run: whatever is not judged yet is listed as missing.",
  effect: "acts",
  harmless: true,
  positional: [{ name: "run", description: "A run's folder, its id or a prefix of it, or `latest`." }],
  args: z.strictObject({
    open: terminalOnly(z.boolean().default(false).describe("Open report.html in the browser.")),
  }),
  result: z.object({
    files: z.object({ verdict: z.string(), markdown: z.string(), html: z.string() }).describe(
      "Paths of the written files.",
    ),
    verdict,
  }),
  examples: ["hone report runs/files-20261121-104500-a1b2", "hone report latest --open"],
  async run({ args, positional, caller }) {
    const dir = await namedRun(positional[0]!, caller);
    if (!(await lstat(join(dir, "run.duckdb"))).isFile()) throw new HoneError(cli.not_a_run(dir));
    await using run = await openRun(dir);
    const config = await settingsIn(join(dir, "pipeline.yaml"));
    const own = await makeVerdict({ store: run, config: { ...config, prices: policyPrices(config) } });
    const verdict = withSuites(own, await suiteVerdicts(dir, caller));
    if (run.live) verdict.notes.unshift("The run is still in progress: these figures are provisional.");
    const files = await writeReports(dir, run, verdict, { status: run.live ? "running" : "interrupted" });
    if (args.open) await caller.open(files.html);
    return { files, verdict };
  },
  text: ({ files, verdict }) => [verdict.sentence, ...verdict.notes.map((note) => `- ${note}`), files.html].join("\n"),
});

/** The verdicts of the run's suites, as far as they have been evaluated. */
async function suiteVerdicts(run_dir: string, caller: Pick<Caller, "within">): Promise<Record<string, Verdict>> {
  const verdicts: Record<string, Verdict> = {};
  for (const name of await suiteNames(run_dir)) {
    const folder = join(run_dir, "suites", name);
    if (!existsSync(join(folder, "run.duckdb"))) continue;
    await using records = await openRun(await namedRun(folder, caller));
    const config = await settingsIn(join(folder, "pipeline.yaml"));
    verdicts[name] = await makeVerdict({ store: records, config: { ...config, prices: policyPrices(config) } });
  }
  return verdicts;
}

/** Problems are told without lines of the file, which may be a link to another one. */
async function settingsIn(path: string): Promise<z.output<typeof settings>> {
  const source = new Source(await textOf(path), path);
  const problems = source.syntax();
  const parsed = settings.safeParse(source.raw);
  if (problems.length === 0 && parsed.success) return parsed.data;
  const found = problems.length > 0 ? problems : explain(parsed.error!.issues, source, settings);
  throw new HoneError(found.map(({ frame: _, ...problem }) => problem));
}
