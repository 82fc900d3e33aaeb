/** Parts of the page that several of its sections share. @module */
import { type Markup, markup } from "./markup.ts";
import type { ReportTable } from "./report_tables.ts";

/** A section that is left out. */
export const noSection = false as const;

const KNOWN = new Set(["base", "warm_start", "tuned"]);

/** A policy's colour, as a class. */
export function tone(policy: string): string {
  return KNOWN.has(policy) ? policy : "other";
}

/** A table. */
export function tableMarkup({ corner, heads, rows }: ReportTable): Markup {
  return markup`<table>
<thead><tr><th scope="col">${corner}</th>${heads.map((head) => markup`<th scope="col">${head}</th>`)}</tr></thead>
<tbody>${rows.map(([name, cells]) => markup`<tr><th scope="row">${name}</th>${cells.map(cell)}</tr>`)}</tbody>
</table>`;
}

function cell(text: string): Markup {
  const [main, range] = text.split("\n");
  return markup`<td>${main}${range && markup`<small>${range}</small>`}</td>`;
}

/** Our own words, in which `settings` stand between backticks. */
export function words(text: string): Markup {
  return markup`${text.split("`").map((part, i) => i % 2 === 1 ? markup`<code>${part}</code>` : part)}`;
}

/** A framed area. */
export function card(content: Markup, heading?: string): Markup {
  return markup`<section class="card">${heading && markup`<h3>${heading}</h3>`}${content}</section>`;
}
