/** Sample trajectories on the page, side by side, with the thumbs that `thumbs.ts` saves. @module */
import { counted } from "../../diagnostics/mod.ts";
import { significant } from "./chart.ts";
import { tone } from "./html_parts.ts";
import { clip, type Markup, markup } from "./markup.ts";
import type { Report, Sample, SampleRun } from "./report_types.ts";
import { title } from "./report_tables.ts";

/** Characters of one text that a sample shows. */
const SAMPLE_TEXT = 1600;

/** The samples, and the bar that saves labels. */
export function samplesSection({ samples, run }: Report): Markup | false {
  return samples.length > 0 && markup`<h2>Samples, side by side</h2>
<p class="why">Open a sample to judge its attempts yourself, Good or Bad with an optional reason, and save them as
<code>labels.json</code>: <code>hone label &lt;run&gt; --import labels.json</code> adds them to the run, and
<code>hone query &lt;run&gt; @judge_agreement</code> compares the judges with you. Without JavaScript, or for other rollouts:
<code>hone label --help</code>.</p>
${samples.map(sample)}
<div id="labels" data-run="${run.id}" hidden><span><b></b>, not saved with this page</span><button type="button">Save
labels.json</button></div>`;
}

function sample({ scenario_id, kind, task, tags, runs }: Sample): Markup {
  return markup`<details>
<summary><span class="kind">${kind}</span><span class="task">${clip(task, 300)}</span>
<span class="marks">${runs.map((run) => markup`<span>${title(run.policy)} ${mark(run)}</span>`)}</span></summary>
<p class="why">${scenario_id} ${tags.map((tag) => markup`<span class="tag">${tag}</span> `)}</p>
<div class="side">${runs.map(attempt)}</div>
</details>`;
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
${run.reasons.map((reason) => markup`<p class="why">${clip(reason, 400)}</p>`)}
<fieldset class="thumbs" data-rollout="${run.rollout_id}" aria-label="Your label" hidden>${thumb("up", 1, "↑ Good")}${
    thumb("down", 0, "↓ Bad")
  }<input type="text" maxlength="2000" placeholder="Why? (optional)"
aria-label="Reason" autocomplete="off" hidden></fieldset></section>`;
}

function thumb(name: string, score: number, text: string): Markup {
  return markup`<button type="button" class="${name}" data-score="${score}" aria-pressed="false">${text}</button>`;
}

function mark({ invalid, success }: SampleRun): Markup {
  if (invalid !== null) return markup`<span class="void" title="left out">○ left out</span>`;
  return success ? markup`<span class="ok">✓ solved</span>` : markup`<span class="no">✗ failed</span>`;
}
