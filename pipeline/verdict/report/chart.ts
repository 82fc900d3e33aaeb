/**
 * Charts of a report as inline SVG, drawn without a DOM. d3-scale and d3-shape compute ticks and paths as plain
 * strings (Observable Plot and most others want a DOM, Vega is ten times as large); colours come from the page's CSS.
 * @module
 */
// @ts-types="npm:@types/d3-scale@4.0.9"
import { scaleLinear } from "d3-scale";
// @ts-types="npm:@types/d3-shape@3.2.0"
import { area, curveMonotoneX, line } from "d3-shape";
import type { Interval } from "../../events.ts";
import { type Markup, markup } from "./markup.ts";
import type { Point } from "./report_types.ts";

/** A line to draw; `x` are steps. */
export interface Series {
  name: string;
  points: readonly Point[];
}

/** What one line chart shows. */
export interface LineChart {
  title: string;
  /** `share` is drawn from 0 to 100 %; `number` fits the data. */
  unit: "share" | "number";
  x_label: string;
  series: readonly Series[];
}

const WIDTH = 360;
const HEIGHT = 210;
/** Beyond so many points, lines have no dots. */
const MOST_DOTS = 80;
const MARGIN = { top: 12, right: 14, bottom: 34, left: 42 };

/** Draws lines with their intervals as bands, a dot on each point, and the last value beside the title. */
export function lineChart({ title, unit, x_label, series }: LineChart): Markup {
  const points = series.flatMap((one) => one.points);
  const xs = points.map((p) => p.x), ys = points.flatMap((p) => [p.y, p.low ?? p.y, p.high ?? p.y]);
  const x = scaleLinear().domain(widen(Math.min(...xs), Math.max(...xs))).range([MARGIN.left, WIDTH - MARGIN.right]);
  const y = scaleLinear().range([HEIGHT - MARGIN.bottom, MARGIN.top]);
  if (unit === "share") y.domain([0, 1]);
  else y.domain(widen(Math.min(0, ...ys), Math.max(...ys))).nice(4);
  const shown = unit === "share" ? percent : significant;
  const format = unit === "share" ? percent : y.tickFormat(4);
  const steps = x.ticks(6).filter(Number.isInteger);
  const last = series[0]?.points.at(-1);
  return markup`
    <figure class="chart">
      <figcaption>${title}${
    last && markup`
        <b>${shown(last.y)}</b>
      `
  }</figcaption>
      <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${describe(title, unit, series)}">
    ${
    y.ticks(4).map((t) =>
      markup`
        <line class="grid" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${y(t)}" y2="${y(t)}" />
        <text class="tick" x="${MARGIN.left - 6}" y="${y(t)}" dy="0.32em" text-anchor="end">${format(t)}</text>
      `
    )
  }
    ${
    steps.map((t) =>
      markup`<text class="tick" x="${x(t)}" y="${HEIGHT - MARGIN.bottom + 15}" text-anchor="middle">${t}</text>`
    )
  }
    <text class="tick" x="${(MARGIN.left + WIDTH - MARGIN.right) / 2}" y="${
    HEIGHT -
    4
  }" text-anchor="middle">${x_label}</text>
    ${series.map((one, i) => seriesMarkup(one, { x, y }, `c${i}`, (p) => `${x_label} ${p.x}: ${told(p, shown)}`))}
      </svg>
    </figure>
  `;
}

type Scale = (value: number) => number;

/** @param name What is shown where the pointer is over a point. */
function seriesMarkup(
  { points }: Series,
  { x, y }: { x: Scale; y: Scale },
  colour: string,
  name: (point: Point) => string,
): Markup {
  const path = line<Point>().x((p) => x(p.x)).y((p) => y(p.y)).curve(curveMonotoneX);
  const band = area<Point>().x((p) => x(p.x)).y0((p) => y(p.low ?? p.y)).y1((p) => y(p.high ?? p.y));
  const dots = points.length > MOST_DOTS ? [] : points;
  return markup`<g class="line ${colour}">${
    points.some((p) => p.low !== undefined) &&
    markup`<path class="band" d="${band.curve(curveMonotoneX)([...points]) ?? ""}"/>`
  }<path d="${path([...points]) ?? ""}"/>
${dots.map((p) => markup`<circle cx="${x(p.x)}" cy="${y(p.y)}" r="2.6"><title>${name(p)}</title></circle>`)}</g>`;
}

function told({ y, low, high }: Point, shown: (value: number) => string): string {
  return low === undefined ? shown(y) : `${shown(y)} (${shown(low)} to ${shown(high ?? y)})`;
}

/** One row of interval bars. `tone` is a CSS class. */
export interface Bar {
  label: string;
  value: string;
  interval: Interval;
  tone: string;
}

/**
 * Draws intervals as whiskers with a dot at the mean over a common axis. Positions are percentages of the width, so
 * that text keeps its size on a narrow screen.
 * @param domain The axis; 0 is marked where it lies inside.
 */
export function intervalBars(bars: readonly Bar[], domain: [number, number], unit: "share" | "difference"): Markup {
  const x = scaleLinear().domain(domain).range([0, 100]).clamp(true);
  const at = (value: number) => `${x(value).toFixed(2)}%`;
  const ticks = x.ticks(unit === "share" ? 3 : 4);
  return markup`
    <div class="bars">
    ${
    bars.map(({ label, value, interval, tone }) =>
      markup`<div class="bar"><span class="name">${label}</span>
<svg class="track ${tone}" role="img" aria-label="${label}: ${value}">
${
        ticks.map((t) =>
          markup`
            <line class="${t === 0 ? "zero" : "grid"}" x1="${at(t)}" x2="${at(t)}" y1="0" y2="100%" />
          `
        )
      }
${
        interval.n > 0 && markup`
          <line class="whisker" x1="${at(interval.low)}" x2="${at(interval.high)}" y1="50%" y2="50%" />
          <circle cx="${at(interval.mean)}" cy="50%" r="5" />
        `
      }
</svg><span class="value">${value}</span></div>`
    )
  }
    <div class="bar axis"><span></span><svg class="track" aria-hidden="true">${
    ticks.map((t) =>
      markup`<text class="tick" x="${at(t)}" y="11" text-anchor="${anchor(x(t))}">${
        unit === "share" ? percent(t) : (t > 0 ? "+" : "") + String(Number(t.toFixed(2)))
      }</text>`
    )
  }</svg><span></span></div>
    </div>
  `;
}

/** A share as whole per cent. */
export function percent(value: number): string {
  return `${Math.round(value * 100)} %`;
}

/** Three significant figures, without exponents for everyday sizes. */
export function significant(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString("en");
  return size < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
}

function widen(low: number, high: number): [number, number] {
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

function anchor(position: number): string {
  return position < 2 ? "start" : position > 98 ? "end" : "middle";
}

function describe(title: string, unit: string, series: readonly Series[]): string {
  const show = unit === "share" ? percent : significant;
  return series.map(({ name, points }) => {
    const first = points[0], last = points.at(-1);
    return first && last
      ? `${title}, ${name}: from ${show(first.y)} to ${show(last.y)} over ${points.length} points`
      : title;
  }).join("; ");
}
