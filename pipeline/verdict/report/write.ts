/**
 * Writes the results of a run: `verdict.json`, `report.md` and `report.html`, each atomically.
 * @module
 */
import { join } from "node:path";
import { writeAside } from "../../common/write_aside.ts";
import { htmlReport } from "./html.ts";
import { markdownReport } from "./markdown.ts";
import { gatherReport } from "./report_data.ts";
import type { Queryable, Verdict } from "../verdict_types.ts";

/** The files that were written, absolute where `run_dir` is. */
export interface ReportFiles {
  verdict: string;
  markdown: string;
  html: string;
}

/**
 * Writes the reports of a run into its folder.
 * @param options `status` of the run where the store has no closing record yet, such as `running`.
 */
export async function writeReports(
  run_dir: string,
  store: Queryable,
  verdict: Verdict,
  options: { status?: string } = {},
): Promise<ReportFiles> {
  const report = await gatherReport(store, verdict, { run_dir, status: options.status ?? "" });
  const files = {
    verdict: join(run_dir, "verdict.json"),
    markdown: join(run_dir, "report.md"),
    html: join(run_dir, "report.html"),
  };
  await writeAside(files.verdict, JSON.stringify(verdict, null, 2) + "\n");
  await writeAside(files.markdown, markdownReport(report));
  await writeAside(files.html, htmlReport(report));
  return files;
}
