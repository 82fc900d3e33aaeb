import assert from "node:assert/strict";
import { lineChart, significant } from "./chart.ts";
import { htmlReport } from "./html.ts";
import { markdownReport } from "./markdown.ts";
import { SCRIPT } from "./thumbs.ts";
import { clip, escape, markup, visible } from "./markup.ts";
import { HOSTILE, sampleReport } from "../../../tests/fixtures/sample_report.ts";
import type { Report } from "./report_types.ts";
import { verdictOver } from "../verdict.ts";

Deno.test("markup() escapes every string and leaves markup as it is", () => {
  const inner = markup`<b>${"<i> & \"'`"}</b>`;
  assert.equal(
    markup`<p title="${'"x'}">${[inner, 1, null, false]}</p>`.text,
    '<p title="&#34;x"><b>&#60;i&#62; &#38; &#34;&#39;&#96;</b>1</p>',
  );
});

Deno.test("visible() shows controls, direction marks and lone surrogates and keeps tabs, newlines and letters", () => {
  assert.equal(visible("a\tb\r\nc\u0000\u202e\u200b\ud800é日"), "a\tb\nc⟨U+0000⟩⟨U+202E⟩⟨U+200B⟩\ufffdé日");
  assert.equal(escape("<"), "&#60;");
});

Deno.test("clip() says how much it left out", () => {
  assert.equal(clip("abcdef", 4), "abcd… (2 more characters)");
  assert.equal(clip("abcd", 4), "abcd");
});

Deno.test("lineChart() draws one dot per point and survives a single point", () => {
  const one = lineChart({
    title: "t",
    unit: "number",
    x_label: "step",
    series: [{ name: "v", points: [{ x: 3, y: 0.5 }] }],
  });
  assert.equal(one.text.match(/<circle/g)?.length, 1);
  assert.doesNotMatch(one.text, /NaN|Infinity|undefined/);
});

Deno.test("significant() keeps three figures", () => {
  assert.deepEqual([0, 0.12345, 1234.5, 12.345, 0.00001].map(significant), ["0", "0.123", "1,235", "12.3", "1.0e-5"]);
});

Deno.test("htmlReport() has its own script only, no address to fetch and every section", () => {
  const page = htmlReport(sampleReport());
  const [own] = page.match(/<script>[^]*?<\/script>/g) ?? [];
  assert.equal(own, `<script>${SCRIPT}</script>`);
  assert.doesNotMatch(page.replace(own!, ""), /<script|<img|<link | src="|url\(|NaN|undefined|\[object/);
  const headings = [...page.matchAll(/<h2>(.*)<\/h2>/g)].map(([, name]) => name);
  assert.deepEqual(headings, [
    "Verdict: improved",
    "Learning curve",
    "Signal health",
    "Learned, and carried over",
    "Checkpoints",
    "Policies",
    "Failures by cause",
    "Wrong tools",
    "Success by tag",
    "Success by tools",
    "Suites",
    "Samples, side by side",
    "Costs",
    "Setup",
  ]);
  assert.equal(page.match(/<details>/g)?.length, 12);
  for (
    const said of [
      "Exported: tuned.",
      "Success on validation reached 60 % after 5.0 minutes and 240 rollouts (step-5).",
      "The rule is the highest success on validation.",
      "2 starts (before: interrupted)",
      "AMD EPYC, 2 cores, 25 GB; Linux 6.18 (x64)",
    ]
  ) {
    assert.ok(page.includes(said), said);
    if (!said.startsWith("AMD") && !said.startsWith("2 starts")) {
      assert.ok(markdownReport(sampleReport()).includes(said), said);
    }
  }
});

Deno.test("htmlReport() and markdownReport() are readable when a run has nothing yet", () => {
  const { run } = sampleReport();
  const verdict = verdictOver([], {
    name: "files",
    seed: 7,
    evaluate: { policies: ["base"], split: "heldout", tries: 1, sampling: ["greedy"] },
  });
  const empty: Report = {
    run: { ...run, status: "running", minutes: null },
    setup: { servers: [], machine: null, settings: [], demonstrations: 0 },
    verdict,
    curve: [],
    validation: [],
    health: [],
    failures: [],
    confusion: [],
    samples: [],
    costs: [],
  };
  assert.doesNotMatch(htmlReport(empty), /<script/);
  assert.match(htmlReport(empty), /Nothing can be said/);
  assert.match(
    markdownReport(empty),
    /^# files\n\nNothing can be said: .*\n\n- Not evaluated: base\.\n\nRun .*running/,
  );
});

Deno.test("markdownReport() has the same figures and keeps hostile text inside its fence", () => {
  const report = sampleReport();
  const text = markdownReport(report);
  assert.ok(text.includes(report.verdict.sentence));
  assert.ok(text.includes("| success, greedy | 0.03 (0.01 to 0.11) | 0.35 (0.24 to 0.47) | 0.63 (0.50 to 0.73) |"));
  assert.match(
    text,
    /## Learned, and carried over\n\n\| success, greedy \| Warm start \| Tuned \| Difference \| Pairs \|\n.*\n\| validation \| 0\.\d\d \(.*\) \| 0\.\d\d \(.*\) \| \+0\.\d\d \(.*\) \| 63 \|\n\| held-out \| 0\.35 \(0\.24 to 0\.47\) \| 0\.63 \(0\.50 to 0\.73\) \| .* \| 63 \|\n/,
  );
  const shown = HOSTILE.replace("\u202E\u0007", "⟨U+202E⟩⟨U+0007⟩");
  assert.ok(text.includes("````text\n" + shown + "\n````"));
});
