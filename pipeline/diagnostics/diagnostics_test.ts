import assert from "node:assert/strict";
import { codeFrame, type Diagnostic, HoneError, nearest, quote, render } from "./mod.ts";
import { protect } from "../common/redact.ts";

const placed: Diagnostic = {
  code: "UNKNOWN_FIELD",
  message: 'Unknown field "a,b: c"',
  hint: "100% sure",
  file: "p.yaml",
  line: 2,
  col: 3,
  frame: codeFrame("a: 1\n  b: 2\n", 2, 3, 1),
};

Deno.test("render() gives text with place, frame and hint, one problem after the other", () => {
  assert.equal(
    render([placed, { code: "OTHER", message: "Something else" }]),
    [
      'p.yaml:2:3 error[UNKNOWN_FIELD] Unknown field "a,b: c"',
      "   2 |   b: 2",
      "     |   ^",
      "  hint: 100% sure",
      "",
      "error[OTHER] Something else",
    ].join("\n"),
  );
});

Deno.test("render() shows control characters and leaves out secrets that hone handed out", () => {
  protect(["s3cr3t-of-a-header"]);
  const told = { code: "OTHER", message: "db down \x1b[31m\n\tkey s3cr3t-of-a-header", hint: "\x07" };
  assert.equal(render([told]), "error[OTHER] db down \\u{1b}[31m\n\tkey [redacted]\n  hint: \\u{7}");
  assert.equal(JSON.parse(render([told], "json"))[0].message, "db down \x1b[31m\n\tkey [redacted]");
});

Deno.test("render() gives JSON that reads back as the diagnostics", () => {
  assert.deepEqual(JSON.parse(render([placed], "json")), [placed]);
});

Deno.test("render() escapes what GitHub's workflow commands would read as their own", () => {
  assert.equal(
    render([{ ...placed, message: "two\nlines", file: "a,b.yaml" }], "github"),
    "::error file=a%2Cb.yaml,line=2,col=3,title=UNKNOWN_FIELD::two%0Alines (100%25 sure)",
  );
});

Deno.test("codeFrame() keeps tabs before the caret and never points past the line", () => {
  assert.equal(codeFrame("\t\tx: 1", 1, 3, 40), "   1 | \t\tx: 1\n     | \t\t^^^^");
  assert.equal(codeFrame("", 1, 1), "   1 | \n     | ^");
});

Deno.test("nearest() finds the word that was meant, and none where nothing is near", () => {
  assert.equal(nearest("ignore_cas", ["ignore_space", "ignore_case"]), "ignore_case");
  assert.equal(nearest("weigths", ["weights"]), "weights");
  assert.equal(nearest("colour", ["seed", "model"]), undefined);
});

Deno.test("quote() cuts long values", () => {
  assert.equal(quote("x".repeat(200)).length, 78);
  assert.equal(quote(undefined), "undefined");
});

Deno.test("HoneError has the code and hint of its first diagnostic and the messages of all", () => {
  const error = new HoneError([placed, { code: "OTHER", message: "Something else" }]);
  assert.deepEqual([error.code, error.hint], ["UNKNOWN_FIELD", "100% sure"]);
  assert.equal(error.message, 'Unknown field "a,b: c"\nSomething else');
});
