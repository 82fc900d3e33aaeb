import assert from "node:assert/strict";
import { cell, fit, LiveFrame, widthOf } from "./live_frame.ts";
import { Screen } from "../../tests/fixtures/screen.ts";

Deno.test("widthOf() counts wide characters as two, combining marks as none, and joined ones for themselves", () => {
  const widths = { "abc": 3, "ファイル": 8, "e\u0301": 1, "👩🏽": 4, "❤\ufe0f": 2, "ﾌ": 1, "": 0 };
  for (const [text, width] of Object.entries(widths)) assert.equal(widthOf(text), width, text);
});

Deno.test("fit() and cell() never exceed a width, whatever they cut", () => {
  assert.deepEqual([fit("abcdef", 4), fit("ファイル", 5), fit("ファイル", 4), fit("abc", 0)], [
    "abc…",
    "ファ…",
    "フ…",
    "",
  ]);
  assert.deepEqual([cell("ab", 4), cell("ファイル", 6)], ["ab  ", "ファ… "]);
});

Deno.test("LiveFrame draws in place, keeps the lines above, and leaves nothing behind", () => {
  const screen = new Screen(20, 6);
  const frame = new LiveFrame(screen.write, () => screen);
  frame.draw(["one", "two", "three"]);
  frame.draw(["one", "two"], ["a line of the log"]);
  assert.deepEqual(screen.lines, ["a line of the log", "one", "two"]);
  frame.draw([]);
  frame.draw(["x".repeat(50), "ファイル".repeat(4)]);
  assert.deepEqual(screen.lines, ["a line of the log", `${"x".repeat(18)}…`, "ファイルファイルフ…"]);
  frame.clear();
  frame.clear();
  assert.deepEqual(screen.lines, ["a line of the log"]);
});

Deno.test("LiveFrame is lower than the screen, and clears what a narrower window has wrapped", () => {
  const screen = new Screen(20, 4);
  const frame = new LiveFrame(screen.write, () => screen);
  frame.draw(["1", "2", "3", "4", "5"]);
  assert.deepEqual(screen.lines, ["1", "2", "3"]);
  frame.draw(["x".repeat(15), "y"]);
  screen.resize(10);
  frame.draw(["z"]);
  assert.deepEqual(screen.lines, ["z"]);
});
