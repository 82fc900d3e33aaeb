import assert from "node:assert/strict";
import {
  protect,
  protectAddress,
  protectHeaders,
  protectProgram,
  protectReference,
  redact,
  withoutHanded,
  withoutHandedProse,
} from "./redact.ts";

Deno.test("redact() hides bearer tokens and protected values when they stand in a text", () => {
  protect(["s3cr3t-value-1", "short"]);
  assert.equal(
    redact("Authorization: Bearer abcdefgh12345678 and s3cr3t-value-1, not short"),
    "Authorization: Bearer [redacted] and [redacted], not short",
  );
});

Deno.test("withoutHanded() hides what a program or an address was given as a secret, and nothing else", () => {
  Deno.env.set("HONE_REDACT_TEST_TOKEN", "own-s3cr3t-2");
  protectProgram({ API_KEY: "given-s3cr3t-3", NODE_ENV: "production", KEY_FILE: "${workdir}/key.pem" }, []);
  protectAddress("https://me:p4ssw0rd-4@example.com/mcp?api_key=url-s3cr3t-5&profile=europe-west");
  assert.equal(
    withoutHanded("given-s3cr3t-3 p4ssw0rd-4 url-s3cr3t-5 production europe-west Bearer authentication"),
    "[redacted] [redacted] [redacted] production europe-west Bearer authentication",
  );
});

Deno.test("redact() hides the whole of a secret when another one is its beginning", () => {
  protect(["first-half", "first-half-and-second", "first-half"]);
  assert.equal(redact("first-half-and-second, first-half"), "[redacted], [redacted]");
});

Deno.test("withoutHanded() finds a secret in JSON, percent-encoded and in Base64", () => {
  const secret = 'f0rms "of" a/secret+é';
  protect([secret]);
  const base64 = (text: string) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));
  const hidden = [
    secret,
    JSON.stringify(secret),
    JSON.stringify(JSON.stringify({ secret })),
    `"f0rms \\"of\\" a\\/secret+\\u00E9"`,
    encodeURIComponent(secret),
    encodeURI(secret),
    new URLSearchParams({ secret }).toString(),
    encodeURIComponent(encodeURIComponent(secret)),
    ...["", "a", "ab", "user:"].flatMap((before) => [base64(before + secret), base64(`${before}${secret} and more`)]),
    base64(JSON.stringify({ secret })),
    encodeURIComponent(base64(secret)),
  ];
  for (const text of hidden) assert.match(withoutHanded(text), /\[redacted\]/, text);
  for (const text of hidden) assert(!/f0rms|ZjBybX/.test(withoutHanded(text)), withoutHanded(text));
});

Deno.test("withoutHanded() finds a long secret and one of several lines, whole or in parts", () => {
  const line = Array.from({ length: 100 }, (_, i) => (i * 7919 % 1e6).toString(36)).join("");
  protect([`first-line-${line.slice(0, 40)}\nsecond-line-${line.slice(40, 80)}\n`, line]);
  assert.equal(withoutHanded(`<second-line-${line.slice(40, 80)}>`), "<[redacted]>");
  assert.equal(withoutHanded(line).replaceAll("[redacted]", "").length < 8, true);
});

Deno.test("what everybody knows is not redacted: numbers, paths, addresses, words, public names and fields", () => {
  const known = {
    PORT_RANGE: "10000,20000",
    DATA: "/home/somebody/data",
    NODE_ENV: "development",
    OPENAI_MODEL: "gpt-4o-mini-2024",
    HOME_PAGE: "https://example.com/documents",
  };
  for (const [name, value] of Object.entries(known)) protectReference(name, value, "servers.it.env.X");
  protectReference("NAME", "qwen3-instruct", "model");
  protectProgram({ MODE_OF_USE: "knowledge", SIZE: "12345678" }, []);
  protectHeaders({ Accept: "text/event-stream", "Content-Type": "application/json" });
  protectAddress("postgres://postgres:s3cr3t-in-address@localhost/notes");
  const text = [
    ...Object.values(known),
    "qwen3-instruct knowledge 12345678 text/event-stream application/json postgres",
  ];
  for (const part of text) assert.equal(withoutHanded(part), part);
  assert.equal(withoutHanded("s3cr3t-in-address"), "[redacted]");
});

Deno.test("references, variables, headers and the user of an address are redacted, whatever their names", () => {
  protectReference("ANY", "referenced word", "stages[1].with.headers.X");
  protectReference("URL", "https://t0ken-as-user@example.com/q?sig=1", "servers.it.env.A");
  protectProgram({ ANY: "literal-in-env" }, []);
  protectHeaders({
    "X-A": "header-value-1",
    Authorization: `Basic ${btoa("somebody:basic-pass")}`,
    Cookie: "a=cookie-val-1",
  });
  const text = ["referenced word", "t0ken-as-user", "literal-in-env", "header-value-1", "basic-pass", "cookie-val-1"];
  for (const part of text) assert.equal(withoutHanded(part), "[redacted]");
});

Deno.test("withoutHandedProse() leaves the names that a server knows its tools by", () => {
  protect(["prose-and-names-1"]);
  const tool = (text: string) => ({
    name: "prose-and-names-1",
    description: text,
    inputSchema: { properties: { description: { type: "string", description: text }, "prose-and-names-1": {} } },
  });
  assert.deepEqual(withoutHandedProse(tool("prose-and-names-1")), tool("[redacted]"));
});
