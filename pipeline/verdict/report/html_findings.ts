/** Signal health, failures and confusions on the page. @module */
import { card, tableMarkup, words } from "./html_parts.ts";
import { clip, type Markup, markup } from "./markup.ts";
import type { FailureCluster, HealthCheck, Report } from "./report_types.ts";
import { confusionTable, title } from "./report_tables.ts";

/** Clusters of a policy that are shown, and characters of a text in them. */
export const CLUSTERS = 6;
export const CLUSTER_TEXT = 240;
/** Tags of a cluster that are shown. */
const TAGS = 4;

/** Each figure with its state, what it means and what to do. */
export function healthSection(checks: readonly HealthCheck[]): Markup | false {
  return checks.length > 0 && markup`<h2>Signal health</h2>
${
    card(markup`<dl class="health">${
      checks.map(({ name, state, figure, meaning, action }) =>
        markup`<div><dt>${name}</dt><dd class="state"><span class="chip ${state}">${state}</span></dd>
<dd class="figure">${figure}</dd><dd class="words">${words(clip(meaning, CLUSTER_TEXT * 2))} ${
          action && markup`<strong>${words(action)}</strong>`
        }</dd></div>`
      )
    }</dl>`)
  }`;
}

/** Failures of each policy by cause, and tools that were called in place of others. */
export function failureSections({ failures, confusion, verdict }: Report): (Markup | false)[] {
  const policies = [...Map.groupBy(failures, ({ policy }) => policy)];
  const confused = confusionTable(confusion, verdict);
  return [
    policies.length > 0 && markup`<h2>Failures by cause</h2>
<div class="cards">${policies.map(([policy, clusters]) => card(clusterList(clusters), title(policy)))}</div>`,
    confused !== null && markup`<h2>Wrong tools</h2>
${card(tableMarkup(confused))}
<p class="why under">Failed rollouts by their first call of another tool than the reference solution's. Some of them may
be another way to the goal.</p>`,
  ];
}

function clusterList(clusters: readonly FailureCluster[]): Markup {
  const rest = clusters.slice(CLUSTERS).reduce((sum, { rollouts }) => sum + rollouts, 0);
  return markup`<ol class="list">${
    clusters.slice(0, CLUSTERS).map((one) =>
      markup`<li><b>${one.rollouts}</b><div>${clip(clusterName(one), CLUSTER_TEXT)}<small>${shownTags(one.tags)}</small>
<small>${one.example_scenario}: ${clip(one.example, CLUSTER_TEXT)}</small></div></li>`
    )
  }${
    rest > 0 && markup`<li><b>${rest}</b><div><small>in further clusters: <code>hone query &lt;run&gt;
@failure_clusters</code></small></div></li>`
  }</ol>`;
}

/** How the rollouts of a cluster ended, and what went wrong. */
export function clusterName({ outcome, pattern }: FailureCluster): string {
  const ended = outcome.replaceAll("_", " ");
  return pattern ? `${ended}: ${pattern}` : ended;
}

/** Some of the tags, and how many more there are. */
export function shownTags(tags: readonly string[]): string {
  const more = tags.length - TAGS;
  return tags.slice(0, TAGS).join(", ") + (more > 0 ? ` and ${more} more tags` : "");
}
