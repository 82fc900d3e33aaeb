/**
 * A report as Markdown, for a terminal, a pull request or a model: the same figures as the page, without charts.
 * Text from outside is escaped, or fenced by more backticks than it contains.
 * @module
 */
import type { Interval } from "../../events.ts";
import { label, plain, signed } from "../sentence.ts";
import { significant } from "./chart.ts";
import { CLUSTER_TEXT, clusterName, CLUSTERS, shownTags } from "./html_findings.ts";
import { shortenedNote } from "./html_samples.ts";
import { clip, visible } from "./markup.ts";
import type { FailureCluster, Report, Sample } from "./report_types.ts";
import {
  checkpointTable,
  confusionTable,
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

const SAMPLE_TEXT = 800;

/** Writes the report. */
export function markdownReport(report: Report): string {
  const { verdict, health, samples } = report;
  const found = findings(verdict);
  const sections = [
    header(report),
    found.length > 0 && `## Verdict: ${verdict.outcome.replaceAll("_", " ")}\n\n${bullets(found)}`,
    section("Policies", policyTable(verdict)),
    section("Learned, and carried over", learnedTable(verdict)),
    comparisons(report),
    section(
      "Checkpoints",
      checkpointTable(verdict),
      verdict.selection && `The rule is ${RULES[verdict.selection.rule]}.`,
    ),
    section("Learning curve", curveTable(report)),
    section(
      "Signal health",
      health.length === 0 ? null : {
        corner: "signal",
        heads: ["state", "figure", "meaning", "next"],
        rows: health.map(({ name, state, figure, meaning, action }) => [name, [state, figure, meaning, action || "–"]]),
      },
    ),
    failures(report),
    section("Wrong tools", confusionTable(report.confusion, verdict)),
    ...tagTables(verdict).map(([sampling, table]) => section(`Success by tag, ${sampling}`, table)),
    ...toolTables(verdict).map(([sampling, table]) => section(`Success by tools, ${sampling}`, table)),
    section("Suites", suiteTable(verdict)),
    section("Costs", costTable(report.costs)),
    section("Setup", { corner: "what", heads: [""], rows: setupRows(report.setup).map(([k, v]) => [k, [v]]) }),
    samples.length > 0 && ["## Samples", ...samples.map(sample)].join("\n\n"),
  ];
  return sections.filter(Boolean).join("\n\n") + "\n";
}

function header({ run, verdict }: Report): string {
  const facts = [
    `Run ${line(run.id)}`,
    run.status && line(run.status),
    run.minutes !== null && `${run.minutes.toFixed(1)} minutes`,
    run.interruptions.length > 0 &&
    `${run.interruptions.length + 1} starts (before: ${line(run.interruptions.join(", "))})`,
    `seed ${run.seed}`,
    `hone ${line(run.hone_version)}`,
  ];
  return [`# ${line(run.name)}`, line(verdict.sentence), bullets(verdict.notes), `${facts.filter(Boolean).join(", ")}.`]
    .filter(Boolean).join("\n\n");
}

function comparisons({ verdict }: Report): string {
  return section("Comparisons", {
    corner: "",
    heads: ["metric", "difference", "95 % interval", "pairs"],
    rows: verdict.comparisons.filter((c) => c.n > 0).map((c) => {
      const share = c.metric.endsWith("success");
      const show = share ? plain : (x: number) => significant(Number(x.toPrecision(6)));
      return [`${title(c.policy)} − ${label(c.against)}`, [
        c.metric,
        share ? signed(c.mean) : show(c.mean),
        `${show(c.low)} to ${show(c.high)}`,
        String(c.n),
      ]];
    }),
  });
}

function curveTable({ curve }: Report): ReportTable {
  const number = (x: number | null) => x === null ? "–" : significant(x);
  const range = (x: Interval | null) =>
    x === null ? "–" : `${significant(x.mean)}\n${significant(x.low)} to ${significant(x.high)}`;
  return {
    corner: "step",
    heads: ["kind", "loss", "reward", "success", "invalid call rate", "rollouts", "seconds"],
    rows: curve.map((p) => [String(p.step), [
      p.kind,
      number(p.loss),
      range(p.reward),
      range(p.success),
      number(p.invalid_calls),
      String(p.rollouts),
      number(p.seconds),
    ]]),
  };
}

function failures({ failures }: Report): string {
  const policies = [...Map.groupBy(failures, ({ policy }) => policy)];
  if (policies.length === 0) return "";
  const item = (one: FailureCluster) =>
    `${one.rollouts} × ${clip(clusterName(one), CLUSTER_TEXT)} [${shownTags(one.tags)}]; ` +
    `${one.example_scenario}: ${clip(one.example, CLUSTER_TEXT)}`;
  const lists = policies.map(([policy, clusters]) =>
    `### ${line(title(policy))}\n\n${bullets(clusters.slice(0, CLUSTERS).map(item))}`
  );
  return ["## Failures by cause", ...lists].join("\n\n");
}

function bullets(texts: readonly string[]): string {
  return texts.map((text) => `- ${line(text)}`).join("\n");
}

function onOneLine(cell: string): string {
  return cell.replace("\n", " (") + (cell.includes("\n") ? ")" : "");
}

function section(name: string, shown: ReportTable | null, note?: string): string {
  if (shown === null || shown.rows.length === 0) return "";
  const rows = shown.rows.map(([row, cells]) => [row, ...cells.map(onOneLine)]);
  return [`## ${name}`, note, table([shown.corner, ...shown.heads], rows)].filter(Boolean).join("\n\n");
}

function sample({ scenario_id, kind, task, runs }: Sample): string {
  const attempts = runs.map((run) => {
    const result = run.invalid !== null ? `left out: ${run.invalid}` : run.success ? "solved" : "failed";
    const events = run.events.map((event) =>
      event.kind === "model"
        ? (event.text.trim() ? fence(event.text) : "(no text)") +
          (event.shortened === undefined ? "" : `\n\n${shortenedNote(event.shortened)}`) +
          (event.invalid === null ? "" : `\n\ninvalid call: ${line(clip(event.invalid, 300))}`)
        : fence(`${event.call} → ${event.outcome}\n${event.text}`)
    );
    const reasons = run.reasons.map((reason) => `- ${line(clip(reason, 400))}`);
    return [`**${line(title(run.policy))}: ${line(result)}** (${line(run.end)})`, ...events, reasons.join("\n")]
      .filter(Boolean).join("\n\n");
  });
  return [`### ${line(scenario_id)} (${kind})`, fence(task), ...attempts].join("\n\n");
}

function table(head: string[], rows: string[][]): string {
  const row = (cells: string[]) => `| ${cells.map(line).join(" | ")} |`;
  return [row(head), `|${" --- |".repeat(head.length)}`, ...rows.map(row)].join("\n");
}

/** A text on one line that Markdown and HTML read as text. */
function line(text: string): string {
  return visible(text).replace(/\s+/g, " ").replace(/[\\`*[\]<>|#&~]/g, "\\$&");
}

/** A block of verbatim text. */
function fence(text: string): string {
  const clean = visible(clip(text, SAMPLE_TEXT));
  const longest = Math.max(2, ...[...clean.matchAll(/`+/g)].map(([run]) => run.length));
  const ticks = "`".repeat(longest + 1);
  return `${ticks}text\n${clean}\n${ticks}`;
}
