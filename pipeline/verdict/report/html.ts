/**
 * A report as one self-contained HTML page. It fetches nothing, and its content policy would refuse to; its one script,
 * for labels, is allowed by its hash, and the page is whole without it. Every text from outside is escaped by `markup.ts`.
 * @module
 */
import type { Interval } from "../../events.ts";
import { plain, signed } from "../sentence.ts";
import type { Comparison, Verdict } from "../verdict_types.ts";
import { type Bar, intervalBars, lineChart } from "./chart.ts";
import { failureSections, healthSection } from "./html_findings.ts";
import { samplesSection } from "./html_samples.ts";
import { card, noSection, tableMarkup, tone, words } from "./html_parts.ts";
import { type Markup, markup, trusted } from "./markup.ts";
import type { CurvePoint, Point, Report } from "./report_types.ts";
import { STYLE } from "./style.ts";
import {
  checkpointTable,
  costTable,
  findings,
  learnedTable,
  policyTable,
  type ReportTable,
  RULES,
  setupRows,
  suiteTable,
  tagTables,
  title,
  toolTables,
} from "./report_tables.ts";
import { CONTENT_POLICY, SCRIPT } from "./thumbs.ts";

/** Draws the report. */
export function htmlReport(report: Report): string {
  const { run, verdict } = report;
  const head = markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${trusted(CONTENT_POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${run.name}: hone report</title>
<style>${trusted(STYLE)}</style>
</head>`;
  const sections = [
    header(report),
    verdictSection(verdict),
    courseSection(report),
    healthSection(report.health),
    tableSection("Learned, and carried over", learnedTable(verdict)),
    checkpointSection(verdict),
    tableSection("Policies", policyTable(verdict)),
    ...failureSections(report),
    breakdownSection("Success by tag", tagTables(verdict)),
    breakdownSection("Success by tools", toolTables(verdict)),
    tableSection("Suites", suiteTable(verdict)),
    samplesSection(report),
    tableSection("Costs", costTable(report.costs), "Minutes are summed over what ran at the same time."),
    setupSection(report),
    footer(),
  ];
  // Not in the template, whose layout might change the text that the hash is of.
  const script = trusted(`<script>${SCRIPT}</script>`);
  return markup`${head}
<body>
<main>
${sections}
</main>
${report.samples.length > 0 && script}
</body>
</html>`.text.trim() + "\n";
}

function header({ run, verdict }: Report): Markup {
  const facts = [
    `run ${run.id}`,
    run.status,
    run.started_at !== null && `${new Date(run.started_at).toISOString().slice(0, 16).replace("T", " ")} UTC`,
    run.minutes !== null && `${run.minutes.toFixed(1)} minutes`,
    run.interruptions.length > 0 && `${run.interruptions.length + 1} starts (before: ${run.interruptions.join(", ")})`,
    `seed ${run.seed}`,
    `hone ${run.hone_version}`,
  ].filter(Boolean);
  return markup`<header><h1>${run.name}</h1>
<div class="meta">${facts.map((fact) => markup`<span>${fact}</span>`)}</div></header>
<p class="sentence">${verdict.sentence}</p>
${verdict.notes.length > 0 && markup`<ul class="notes">${verdict.notes.map((note) => markup`<li>${note}</li>`)}</ul>`}`;
}

function verdictSection(verdict: Verdict): Markup | false {
  const { policies, comparisons, sampling, outcome, floor, ceiling } = verdict;
  const names = Object.entries(policies);
  if (names.length === 0) return noSection;
  const bar = (label: string, interval: Interval, tone: string): Bar => ({
    label,
    value: interval.n > 0
      ? `${plain(interval.mean)} (${plain(interval.low)} to ${plain(interval.high)})`
      : "none judged",
    interval,
    tone,
  });
  const way = sampling === "greedy" ? "sampled" : "greedy";
  const bars = names.flatMap(([name, summary]): Bar[] => {
    const other = summary[`${way}_success`];
    return [
      bar(title(name), summary.success, tone(name)),
      ...(other ? [bar(`${title(name)}, ${way}`, other, tone(name))] : []),
    ];
  });
  if (floor) bars.unshift(bar("Doing nothing", floor.success, "bound"));
  if (ceiling) bars.push(bar("Reference", ceiling.success, "bound"));
  const differences = comparisons.filter((c) => c.metric === "success" && c.n > 0);
  const found = findings(verdict);
  return markup`<h2>Verdict: ${outcome.replaceAll("_", " ")}</h2>
<div class="cards"><section class="card"><h3>Success, ${sampling}</h3>${intervalBars(bars, [0, 1], "share")}</section>
${
    differences.length > 0 && markup`<section class="card"><h3>Difference of success, pair by pair</h3>
${intervalBars(differences.map(differenceBar), differenceDomain(differences), "difference")}</section>`
  }</div>
${found.length > 0 && markup`<ul class="notes">${found.map((text) => markup`<li>${words(text)}</li>`)}</ul>`}`;
}

function differenceBar(comparison: Comparison): Bar {
  const { low, high, mean } = comparison;
  return {
    label: `${title(comparison.policy)} − ${title(comparison.against).toLowerCase()}`,
    value: `${signed(mean)} (${plain(low)} to ${plain(high)})`,
    interval: comparison,
    tone: low > 0 ? "gain" : high < 0 ? "loss" : "none",
  };
}

function differenceDomain(differences: readonly Comparison[]): [number, number] {
  const low = Math.min(-0.1, ...differences.map((c) => c.low)), high = Math.max(0.1, ...differences.map((c) => c.high));
  return [Math.floor(low * 10) / 10, Math.ceil(high * 10) / 10];
}

function courseSection({ curve, validation }: Report): Markup | false {
  const rl = curve.filter((point) => point.kind === "rl");
  const supervised = curve.filter((point) => point.kind === "supervised");
  const charts = [
    chart("Training success (sampled)", "share", "RL step", rl, (p) => p.success),
    chart("Training reward", "number", "RL step", rl, (p) => p.reward),
    chart("Training invalid calls", "share", "RL step", rl, (p) => p.invalid_calls),
    validation.length > 1 && lineChart({
      title: "Success on validation",
      unit: "share",
      x_label: "policy version",
      series: [{ name: "validation", points: validation.map((v) => point(v.version, v.success)) }],
    }),
    chart("Loss of the warm start", "number", "supervised step", supervised, (p) => p.loss),
  ].filter((drawn) => drawn !== false);
  return charts.length > 0 && markup`<h2>Learning curve</h2>
<div class="charts">${charts}</div>
<p class="why under">Bands are 95 % intervals; in training, as if the rollouts of a step were independent. Steps differ in
their scenarios.</p>`;
}

function point(x: number, y: Interval | number): Point {
  return typeof y === "number" ? { x, y } : { x, y: y.mean, low: y.low, high: y.high };
}

function chart(
  name: string,
  unit: "share" | "number",
  x_label: string,
  curve: readonly CurvePoint[],
  value: (point: CurvePoint) => Interval | number | null,
): Markup | false {
  const points = curve.flatMap((one) => {
    const y = value(one);
    return y === null ? [] : [point(one.step, y)];
  });
  return points.length > 0 && lineChart({ title: name, unit, x_label, series: [{ name: "value", points }] });
}

function checkpointSection(verdict: Verdict): Markup | false {
  return tableSection(
    "Checkpoints",
    checkpointTable(verdict),
    verdict.selection && `The rule is ${RULES[verdict.selection.rule]}.`,
  );
}

function breakdownSection(name: string, tables: [string, ReportTable][]): Markup | false {
  return tables.length > 0 && markup`<h2>${name}</h2>
<div class="cards">${tables.map(([sampling, table]) => card(tableMarkup(table), sampling))}</div>`;
}

function tableSection(name: string, table: ReportTable | null, note?: string): Markup | false {
  return table !== null && table.rows.length > 0 && markup`<h2>${name}</h2>
${card(tableMarkup(table))}${note && markup`<p class="why under">${note}</p>`}`;
}

function setupSection({ setup }: Report): Markup | false {
  const rows = setupRows(setup);
  return rows.length > 0 && markup`<h2>Setup</h2>
${card(markup`<dl class="setup">${rows.map(([name, value]) => markup`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`)}`;
}

function footer(): Markup {
  return markup`<footer>Intervals cover 95 %: Wilson for one proportion, Tango's paired score interval for differences of
success, the paired bootstrap for the rest; several tries of one scenario count as one cluster. Seconds have none: they
measure the machine's load too. The figures are in <code>verdict.json</code>, every record in <code>run.duckdb</code>;
<code>hone query --list</code> shows the queries that this page is made from.</footer>`;
}
