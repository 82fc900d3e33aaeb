/**
 * A report as Markdown, for a terminal, a pull request or a model: the same figures as the page, without charts.
 * Text from outside is escaped, or fenced by more backticks than it contains.
 * @module
 */
import { significant } from "./chart.ts";
import { causeRows, policyRows, shortenedNote, title, validationRows } from "./html.ts";
import { clip, visible } from "./markup.ts";
import type { Report, Sample } from "./report_types.ts";
import { label, plain, signed } from "../sentence.ts";

const SAMPLE_TEXT = 800;

/** Writes the report. */
export function markdownReport(report: Report): string {
  const { run, verdict } = report;
  const names = Object.keys(verdict.policies);
  const heads = names.map(title);
  const [compared, learned] = validationRows(verdict);
  const sections = [
    `# ${line(run.name)}`,
    line(verdict.sentence),
    verdict.notes.map((note) => `- ${line(note)}`).join("\n"),
    `Run ${line(run.id)}, ${run.status && `${line(run.status)}, `}seed ${run.seed}, hone ${line(run.hone_version)}.`,
    section(
      "Policies",
      ["per rollout", ...heads],
      policyRows(verdict).map(onOneLine),
    ),
    section(
      "Learned, and carried over",
      [`success, ${verdict.sampling}`, ...compared.map(title)],
      learned.map(onOneLine),
    ),
    verdict.comparisons.length > 0 && "## Comparisons\n\n" + table(
        ["", "metric", "difference", "95 % interval", "pairs"],
        verdict.comparisons.filter((c) => c.n > 0).map((c) => {
          const share = c.metric.endsWith("success");
          const show = share ? plain : (x: number) => significant(Number(x.toPrecision(6)));
          return [
            `${title(c.policy)} − ${label(c.against)}`,
            c.metric,
            share ? signed(c.mean) : show(c.mean),
            `${show(c.low)} to ${show(c.high)}`,
            String(c.n),
          ];
        }),
      ),
    curve(report),
    section(
      "Failures by cause",
      ["cause", ...heads],
      causeRows(verdict.policies).map(([c, n]) => [c, ...n.map(String)]),
    ),
    section(
      "Success by tag",
      ["tag", ...heads],
      report.tags.map((row) => [
        `${row.tag} (${row.scenarios})`,
        ...names.map((n) => {
          const at = row.policies[n];
          return at && at.n > 0 ? `${plain(at.mean)} (${plain(at.low)} to ${plain(at.high)})` : "–";
        }),
      ]),
    ),
    report.samples.length > 0 && ["## Samples", ...report.samples.map(sample)].join("\n\n"),
  ];
  return sections.filter(Boolean).join("\n\n") + "\n";
}

function curve({ curve: points }: Report): string {
  const number = (x: number | null) => x === null ? "–" : significant(x);
  return section(
    "Learning curve",
    ["step", "kind", "loss", "reward", "success", "invalid call rate", "rollouts", "seconds"],
    points.map((p) => [
      String(p.step),
      p.kind,
      number(p.loss),
      ...[p.reward, p.success, p.invalid_calls].map(number),
      String(p.rollouts),
      number(p.seconds),
    ]),
  );
}

function onOneLine([name, cells]: [string, string[]]): string[] {
  return [name, ...cells.map((cell) => cell.replace("\n", " (") + (cell.includes("\n") ? ")" : ""))];
}

function section(name: string, head: string[], rows: string[][]): string {
  return rows.length > 0 ? `## ${name}\n\n${table(head, rows)}` : "";
}

function sample({ scenario_id, task, runs }: Sample): string {
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
  return [`### ${line(scenario_id)}`, fence(task), ...attempts].join("\n\n");
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
