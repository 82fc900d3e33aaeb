/**
 * The official client conformance suite against hone's own sessions, in both revisions. `scenarios.yaml` names every
 * scenario; nothing that issue 4 wants may be called out of scope.
 * @module
 */
import assert from "node:assert/strict";
import { parse } from "yaml";
import { Semaphore } from "../../pipeline/common/semaphore.ts";

const here = new URL(".", import.meta.url).pathname;
const CLIENT = `${here}client.ts`;
const REVISIONS = ["2025-11-25", "2026-07-28"];
const AT_ONCE = 3;
const MUST_PASS = [
  "initialize",
  "tools_call",
  "elicitation-sep1034-client-defaults",
  "sse-retry",
  "request-metadata",
  "http-standard-headers",
  "auth/offline-access-scope",
  "auth/token-endpoint-auth-basic",
];

interface Listed {
  suite: string;
  passing: string[];
  out_of_scope: Record<string, string>;
}

const listed: Listed = parse(await Deno.readTextFile(`${here}scenarios.yaml`));
const suite = `npm:@modelcontextprotocol/conformance@${listed.suite}`;

async function conformance(args: string[], cwd: string): Promise<{ code: number; output: string }> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-config", "--no-lock", suite, ...args],
    cwd,
  });
  const { code, stdout, stderr } = await command.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  // deno-lint-ignore no-control-regex -- the suite colours what it prints
  return { code, output: (text(stdout) + text(stderr)).replace(/\x1b\[\d+m/g, "") };
}

/** Client scenarios by name, with the revisions that each is for (`extension` for those of none). */
async function clientScenarios(cwd: string): Promise<Map<string, string[]>> {
  const { output } = await conformance(["list"], cwd);
  const part = /^Client scenarios[^\n]*\n((?: {2}- .*\n?)+)/m.exec(output)?.[1];
  assert(part, `the suite lists no client scenarios:\n${output}`);
  const lines = [...part.matchAll(/^ {2}- (\S+) \[(.*)\]$/gm)];
  return new Map(lines.map(([, name, revisions]) => [name!, revisions!.split(",")]));
}

/** What went wrong with a scenario in one revision (the suite's own choice where null), or null. */
async function problem(name: string, revision: string | null, cwd: string): Promise<string | null> {
  const command = `${Deno.execPath()} run -A --no-lock --config=${here}../../deno.json ${CLIENT}`;
  const version = revision === null ? [] : ["--spec-version", revision];
  const args = ["client", "--command", command, "--scenario", name, "--timeout", "60000", ...version];
  const { code, output } = await conformance(args, cwd);
  const checks = Number(/Passed: (\d+)\//.exec(output)?.[1] ?? 0);
  if (code === 0 && checks > 0 && output.includes("OVERALL: PASSED")) return null;
  return `${name} (${revision ?? "its own revision"}):\n${output.slice(-3000)}`;
}

Deno.test("conformance: every client scenario is listed, and what is out of scope says why", async () => {
  const scenarios = await clientScenarios(here);
  const out_of_scope = Object.entries(listed.out_of_scope);
  assert.deepEqual([...listed.passing, ...Object.keys(listed.out_of_scope)].sort(), [...scenarios.keys()].sort());
  for (const [name, reason] of out_of_scope) {
    assert(typeof reason === "string" && reason.length > 20, `${name} is out of scope without a reason`);
    assert.deepEqual(scenarios.get(name), ["extension"], `${name} is part of a revision`);
  }
  assert.deepEqual(MUST_PASS.filter((name) => !listed.passing.includes(name)), []);
});

Deno.test("conformance: every scenario listed as passing passes, in both revisions", async () => {
  const cwd = await Deno.makeTempDir({ prefix: "hone-conformance-" });
  try {
    const scenarios = await clientScenarios(cwd);
    const wanted = listed.passing.flatMap((name): [string, string | null][] => {
      const revisions = REVISIONS.filter((revision) => scenarios.get(name)?.includes(revision));
      return revisions.length > 0 ? revisions.map((revision) => [name, revision]) : [[name, null]];
    });
    const few = new Semaphore(AT_ONCE);
    const problems = await Promise.all(wanted.map(([name, revision]) => few.use(() => problem(name, revision, cwd))));
    assert.deepEqual(problems.filter((one) => one !== null), []);
    assert(REVISIONS.every((revision) => wanted.some(([, at]) => at === revision)));
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
});
