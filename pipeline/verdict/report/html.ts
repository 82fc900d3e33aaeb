/**
 * A report as one self-contained HTML page: no script, nothing fetched, and a content policy that would refuse both.
 * Every text from outside is escaped by `markup.ts`.
 * @module
 */
import { counted } from "../../diagnostics/mod.ts";
import type { Interval } from "../../events.ts";
import { type Bar, intervalBars, lineChart, percent, type Series, significant } from "./chart.ts";
import { clip, type Markup, markup, trusted } from "./markup.ts";
import type { CurvePoint, Report, Sample, SampleRun } from "./report_types.ts";
import { plain, signed } from "../sentence.ts";
import { STYLE } from "./style.ts";
import type { Comparison, PolicySummary, Verdict } from "../verdict_types.ts";

/** Characters of one text that a sample shows. */
const SAMPLE_TEXT = 1600;
const KNOWN = new Set(["base", "warm_start", "tuned"]);
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** Draws the report. */
export function htmlReport(report: Report): string {
  const { run, verdict } = report;
  return markup`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta http-equiv="Content-Security-Policy" content="${POLICY}">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="referrer" content="no-referrer">
        <title>${run.name}: hone report</title>
        <style>${trusted(STYLE)}</style>
      </head>
      <body>
        <main>
    <header><h1>${run.name}</h1>
    <div class="meta"><span>run ${run.id}</span>${run.status && markup`<span>${run.status}</span>`}${
    started(report)
  }<span>seed ${run.seed}</span>
    <span>hone ${run.hone_version}</span></div></header>
    <p class="sentence">${verdict.sentence}</p>
    ${
    verdict.notes.length > 0 && markup`<ul class="notes">${verdict.notes.map((note) => markup`<li>${note}</li>`)}</ul>`
  }
    ${verdictSection(verdict)}
    ${courseSection(report)}
    ${validationSection(verdict)}
    ${policiesSection(verdict)}
    ${failuresSection(verdict)}
    ${tagsSection(report)}
    ${samplesSection(report)}
    <footer>Intervals cover 95 %: Wilson for one proportion, Tango's paired score interval for differences of success,
    the paired bootstrap for the rest; several tries of one scenario count as one cluster. The figures are in
    <code>verdict.json</code>, every record in <code>run.duckdb</code> (<code>hone query</code>).</footer>
        </main>
      </body>
    </html>
  `.text.trim() + "\n";
}

function started({ run }: Report): Markup | false {
  if (run.started_at === null) return false;
  const minutes = run.ended_at === null ? null : (run.ended_at - run.started_at) / 60000;
  const at = new Date(run.started_at).toISOString().slice(0, 16).replace("T", " ");
  return markup`<span>${at} UTC</span>${minutes !== null && markup`<span>${minutes.toFixed(1)} minutes</span>`}`;
}

function verdictSection({ policies, comparisons, sampling }: Verdict): Markup | false {
  const names = Object.entries(policies);
  if (names.length === 0) return false;
  const bars = names.flatMap(([name, summary]): Bar[] => {
    const other = sampling === "greedy" ? summary.sampled_success : summary.greedy_success;
    const bar = (text: string, interval: Interval): Bar => ({
      label: text,
      value: interval.n > 0
        ? `${plain(interval.mean)} (${plain(interval.low)} to ${plain(interval.high)})`
        : "none judged",
      interval,
      tone: tone(name),
    });
    const way = sampling === "greedy" ? "sampled" : "greedy";
    return [bar(title(name), summary.success), ...(other ? [bar(`${title(name)}, ${way}`, other)] : [])];
  });
  const differences = comparisons.filter((c) => c.metric === "success" && c.n > 0);
  return markup`<h2>Verdict</h2>
<div class="cards"><section class="card"><h3>Success, ${sampling}</h3>${intervalBars(bars, [0, 1], "share")}</section>
${
    differences.length > 0 && markup`<section class="card"><h3>Difference of success, pair by pair</h3>
${intervalBars(differences.map(differenceBar), differenceDomain(differences), "difference")}</section>`
  }</div>`;
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
    chart("Training reward", "number", "RL step", rl, (p) => p.reward),
    chart("Training success (sampled)", "share", "RL step", rl, (p) => p.success),
    chart("Training invalid calls", "share", "RL step", rl, (p) => p.invalid_calls),
    chart("Loss of the warm start", "number", "supervised step", supervised, (p) => p.loss),
    validation.length > 1 && lineChart({
      title: "Success on validation",
      unit: "share",
      x_label: "policy version",
      series: [{ name: "validation", points: validation.map((v) => ({ x: v.version, y: v.success.mean })) }],
    }),
  ].filter((drawn) => drawn !== false);
  return charts.length > 0 && markup`
    <h2>Learning curve</h2>
    <div class="charts">${charts}</div>
  `;
}

function chart(
  name: string,
  unit: "share" | "number",
  x_label: string,
  curve: readonly CurvePoint[],
  value: (point: CurvePoint) => number | null,
): Markup | false {
  const points = curve.flatMap((point) => {
    const y = value(point);
    return y === null ? [] : [{ x: point.step, y }];
  });
  const series: Series[] = [{ name: "value", points }];
  return points.length > 0 && lineChart({ title: name, unit, x_label, series });
}

/** Rows of the table of policies: a name, and a cell for each policy; a line break parts a figure from its interval. */
export function policyRows({ policies, sampling }: Verdict): [string, string[]][] {
  const other = sampling === "greedy" ? "sampled" : "greedy";
  const rows: [string, (summary: PolicySummary) => string][] = [
    [`success, ${sampling}`, (s) => interval(s.success)],
    [`success, ${other}`, (s) => interval(s[`${other}_success`])],
    ["reward", (s) => s.reward.n > 0 ? plain(s.reward.mean) : "–"],
    ["turns", (s) => s.turns?.toFixed(1) ?? "–"],
    ["tool calls", (s) => s.tool_calls?.toFixed(1) ?? "–"],
    ["invalid calls", (s) => s.invalid_calls?.toFixed(2) ?? "–"],
    ["invalid call rate", (s) => s.invalid_call_rate === null ? "–" : percent(s.invalid_call_rate)],
    [
      "success after an error",
      (s) => s.error_recovery ? `${plain(s.error_recovery.mean)} of ${s.error_recovery.n}` : "–",
    ],
    ["with shortened history", (s) => s.shortened ? percent(s.shortened) : "–"],
    ["tokens, all turns", (s) => s.tokens === null ? "–" : significant(Math.round(s.tokens))],
    ["tokens written", (s) => s.output_tokens === null ? "–" : significant(Math.round(s.output_tokens))],
    ["seconds", (s) => s.seconds?.toFixed(1) ?? "–"],
    ["rollouts that count", (s) => `${s.rollouts.counted} of ${s.rollouts.total}`],
  ];
  return rows.map(([name, value]): [string, string[]] => [name, Object.values(policies).map(value)])
    .filter(([, cells]) => cells.some((text) => text !== "–"));
}

/** The heads of the table of what RL learned and what carries over, and its rows, as in `policyRows`. */
export function validationRows({ validation, policies, comparisons }: Verdict): [string[], [string, string[]][]] {
  if (!validation) return [[], []];
  const { policy, against } = validation.difference;
  const heldout = comparisons.find((c) => c.metric === "success" && c.policy === policy && c.against === against);
  const row = (name: string, successes: (Interval | undefined)[], { mean, low, high, n }: Interval) => {
    const difference = `${signed(mean)}\n${plain(low)} to ${plain(high)}`;
    return [name, [...successes.map(interval), difference, String(n)]] as [string, string[]];
  };
  return [[against, policy, "difference", "pairs"], [
    row("validation", [validation.policies[against], validation.policies[policy]], validation.difference),
    ...(heldout ? [row("held-out", [policies[against]?.success, policies[policy]?.success], heldout)] : []),
  ]];
}

function validationSection(verdict: Verdict): Markup | false {
  const [names, rows] = validationRows(verdict);
  return rows.length > 0 && markup`
    <h2>Learned, and carried over</h2>
    <div class="card">${
    table(`success, ${verdict.sampling}`, names, rows.map(([name, cells]) => [name, cells.map(cell)]))
  }</div>
  `;
}

function policiesSection(verdict: Verdict): Markup | false {
  const names = Object.keys(verdict.policies);
  return names.length > 0 && markup`
    <h2>Policies</h2>
    <div class="card">${
    table(
      "per rollout",
      names,
      policyRows(verdict).map(([name, cells]) => [name, cells.map(cell)]),
    )
  }</div>
  `;
}

function failuresSection({ policies }: Verdict): Markup | false {
  const rows = causeRows(policies);
  return rows.length > 0 && markup`
    <h2>Failures by cause</h2>
    <div class="card">${
    table(
      "cause",
      Object.keys(policies),
      rows.map(([cause, counts]) => [cause, counts.map((n) => cell(String(n)))]),
    )
  }</div>
  `;
}

/** Causes of failure and of exclusion with their counts by policy, most frequent first. */
export function causeRows(policies: Record<string, PolicySummary>): [string, number[]][] {
  const all = Object.values(policies);
  const causes = new Map<string, number[]>();
  for (const [i, { failures, rollouts }] of all.entries()) {
    const excluded = Object.entries(rollouts.excluded).map(([cause, n]) => [`left out: ${cause}`, n] as const);
    for (const [cause, n] of [...Object.entries(failures), ...excluded]) {
      const counts = causes.get(cause) ?? all.map(() => 0);
      counts[i] = n;
      causes.set(cause, counts);
    }
  }
  const weight = (counts: number[]) => counts.reduce((a, b) => a + b, 0);
  return [...causes].sort(([, a], [, b]) => weight(b) - weight(a));
}

function tagsSection({ tags, verdict }: Report): Markup | false {
  const names = Object.keys(verdict.policies);
  return tags.length > 0 && markup`
    <h2>Success by tag</h2>
    <div class="card">${
    table(
      "tag",
      names,
      tags.map((row) => [`${row.tag} (${row.scenarios})`, names.map((n) => cell(interval(row.policies[n])))]),
    )
  }</div>
  `;
}

function table(corner: string, names: string[], rows: [string, Markup[]][]): Markup {
  return markup`
    <table>
      <thead>
        <tr><th scope="col">${corner}</th>${names.map((n) => markup`<th scope="col">${title(n)}</th>`)}</tr>
      </thead>
      <tbody>${rows.map(([name, cells]) => markup`<tr><th scope="row">${name}</th>${cells}</tr>`)}</tbody>
    </table>
  `;
}

function samplesSection({ samples }: Report): Markup | false {
  return samples.length > 0 && markup`<h2>Samples, side by side</h2>${samples.map(sample)}`;
}

function sample({ scenario_id, task, tags, runs }: Sample): Markup {
  return markup`
    <details>
      <summary><span class="task">${clip(task, 300)}</span>
    <span class="marks">${runs.map((run) => markup`<span>${title(run.policy)} ${mark(run)}</span>`)}</span></summary>
      <p class="why">${scenario_id} ${
    tags.map((tag) =>
      markup`
          <span class="tag">${tag}</span>
        `
    )
  }</p>
      <div class="side">${runs.map(attempt)}</div>
    </details>
  `;
}

/** What a sample says of a turn before which `count` earlier messages were shortened. */
export function shortenedNote(count: number): string {
  return `before this turn, ${counted(count, "earlier message")} with tool results ${
    count === 1 ? "was" : "were"
  } shortened to fit the context`;
}

function attempt(run: SampleRun): Markup {
  return markup`<section class="p-${tone(run.policy)}"><h3>${title(run.policy)} ${mark(run)}</h3>
${
    run.events.map((event) =>
      event.kind === "model"
        ? markup`<pre>${clip(event.text, SAMPLE_TEXT) || "(no text)"}</pre>${
          event.shortened !== undefined && markup`<p class="why">${shortenedNote(event.shortened)}</p>`
        }${event.invalid !== null && markup`<p class="why no">invalid call: ${clip(event.invalid, 300)}</p>`}`
        : markup`<pre class="tool${event.outcome === "ok" ? "" : " bad"}">${clip(event.call, 300)} → ${event.outcome}
${clip(event.text, SAMPLE_TEXT)}</pre>`
    )
  }
<p class="why">${run.end}${run.reward !== null && `, reward ${significant(run.reward)}`}${
    run.invalid !== null && `; left out: ${run.invalid}`
  }</p>
${run.reasons.map((reason) => markup`<p class="why">${clip(reason, 400)}</p>`)}</section>`;
}

function mark({ invalid, success }: SampleRun): Markup {
  if (invalid !== null) return markup`<span class="void" title="left out">○ left out</span>`;
  return success ? markup`<span class="ok">✓ solved</span>` : markup`<span class="no">✗ failed</span>`;
}

function cell(text: string): Markup {
  const [main, range] = text.split("\n");
  return markup`<td>${main}${range && markup`<small>${range}</small>`}</td>`;
}

function interval(of: Interval | undefined): string {
  return !of || of.n === 0 ? "–" : `${plain(of.mean)}\n${plain(of.low)} to ${plain(of.high)}`;
}

/** A policy's name as a heading. */
export function title(policy: string): string {
  return { base: "Base", warm_start: "Warm start", tuned: "Tuned" }[policy] ?? policy;
}

function tone(policy: string): string {
  return KNOWN.has(policy) ? policy : "other";
}
