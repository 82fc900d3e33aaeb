/** What a stranger's file names is neither started nor loaded before it was shown, whole, and approved. @module */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import graph from "../../runners/verbs/graph.ts";
import { runVerb } from "../fixtures/small_run.ts";
import { type Ended, start } from "../runs/hone_process.ts";

/** A judge that leaves a mark when it is loaded; `word` is in its text. */
const judge = (mark: string, word = "") =>
  `import { definePlugin } from "@hone/hone";
import { z } from "zod";
Deno.writeTextFileSync(${JSON.stringify(mark)}, ${JSON.stringify(word)});
export default definePlugin({
  kind: "judge", name: "marking", summary: "Marks.", config: z.strictObject({}), examples: [{ title: "D", with: {} }],
  create: () => ({ scale: "absolute", decisive: true, judge: () => [] }),
});
`;

/** A program that leaves a mark when it is started, and says hello. */
const program = (mark: string) =>
  `#!/bin/sh
echo started > '${mark}'
read line
echo '{"id":0,"result":{"kind":"tracker","name":"told","summary":"Listens."}}'
read line
`;

const SCENARIOS = "- { id: a, split: heldout, task: Say yes., answer: { equals: yes } }\n";

interface Given {
  server?: string;
  stages?: string;
}

const pipeline = ({ server = "", stages = "" }: Given) =>
  `name: stranger
agent: { endpoint: { base_url: "http://127.0.0.1:1/v1", model: m } }
${server && `servers:\n  it: ${server}\n`}stages:
${server && "  - use: discoverer/mcp\n"}  - use: scenario-source/file
    with: { path: ./scenarios.yaml }
  - use: rollout/chat
  - use: judge/answer
  - use: reward-shaper/weighted
${stages}`;

/** A folder with a stranger's pipeline and an empty memory of approvals. */
class Stranger implements AsyncDisposable {
  readonly mark: string;
  readonly file: string;

  private constructor(readonly dir: string) {
    this.mark = join(dir, "mark");
    this.file = join(dir, "pipeline.yaml");
  }

  static async offers(given: Given): Promise<Stranger> {
    const stranger = new Stranger(await mkdtemp(join(tmpdir(), "hone-stranger-")));
    await mkdir(join(stranger.dir, "cache"));
    await writeFile(join(stranger.dir, "scenarios.yaml"), SCENARIOS);
    await stranger.writes(given);
    return stranger;
  }

  async writes(given: Given) {
    await writeFile(this.file, pipeline(given));
  }

  hone(...words: string[]): Promise<Ended> {
    return start(words, join(this.dir, "cache")).ended;
  }

  /** Forgets that something ran; false if nothing did. */
  async ran(): Promise<boolean> {
    const found = existsSync(this.mark);
    await rm(this.mark, { force: true });
    return found;
  }

  async [Symbol.asyncDispose]() {
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** Every command that reads a pipeline, as words before its path. */
const READERS = [["run"], ["run", "--dry-run"], ["evaluate"], ["graph"], ["validate"]];

const CODE = [
  ["a plugin file", "./judge.ts"],
  ["a file URL", "file://{dir}/judge.ts"],
  ["a program", "exec:./program.sh"],
] as const;

for (const [what, use] of CODE) {
  Deno.test(`no command loads ${what} that was not approved`, async () => {
    await using stranger = await Stranger.offers({});
    await writeFile(join(stranger.dir, "judge.ts"), judge(stranger.mark));
    await writeFile(join(stranger.dir, "program.sh"), program(stranger.mark), { mode: 0o755 });
    const named = use.replace("{dir}", stranger.dir);
    await stranger.writes({ stages: `  - use: ${named}\n` });
    for (const words of [...READERS, ["list"]]) {
      const read = words[0] === "list" ? [named.replace("./", `${stranger.dir}/`)] : [stranger.file];
      const { code, err } = await stranger.hone(...words, ...read);
      assert.equal(await stranger.ran(), false, words.join(" "));
      if (words[0] === "validate") {
        assert.equal(code, 0);
        assert.ok(err.includes(`not loaded, and their settings not checked: ${named}; --yes approves`), err);
      } else {
        assert.equal(code, 2, err);
        assert.match(err, /plugin: .*(judge\.ts|program\.sh) \(sha256 [0-9a-f]{64}\)\n/);
        assert.match(err, /error\[NOT_CONSENTED\] Cannot start the programs listed above: .* without a terminal/);
      }
    }
    // A broken file is no reason to load anything either.
    await writeFile(stranger.file, (await readFile(stranger.file, "utf8")) + "sede: 1\n");
    for (const words of READERS) {
      assert.match(
        (await stranger.hone(...words, stranger.file)).out + "",
        words[0] === "validate" ? /UNKNOWN_FIELD/ : /^$/,
      );
      assert.equal(await stranger.ran(), false, words.join(" "));
    }
  });
}

Deno.test("at a terminal, a plugin is loaded after a yes and only then", async () => {
  await using stranger = await Stranger.offers({ stages: "  - use: ./judge.ts\n" });
  await writeFile(join(stranger.dir, "judge.ts"), judge(stranger.mark));
  const asked = (answer: string) => runVerb(graph, { positional: [stranger.file], answer });
  for (const answer of ["", "n", "yes, but"]) {
    await assert.rejects(asked(answer), { code: "NOT_CONSENTED" });
    assert.equal(await stranger.ran(), false);
  }
  const { code, err } = await asked("y");
  assert.deepEqual([code, await stranger.ran()], [0, true]);
  assert.match(err.join("\n"), /plugin: \.\/judge\.ts \(sha256 [0-9a-f]{64}\)/);
});

Deno.test("what was approved is loaded until its file, or a file that it imports, changes", async () => {
  await using stranger = await Stranger.offers({ stages: "  - use: ./judge.ts\n" });
  const helper = join(stranger.dir, "helper.ts");
  await writeFile(helper, "export {};\n");
  await writeFile(join(stranger.dir, "judge.ts"), 'import "./helper.ts";\n' + judge(stranger.mark));
  const shown = () => stranger.hone("graph", stranger.file);
  const approved = await stranger.hone("validate", "--yes", stranger.file);
  assert.deepEqual([approved.code, await stranger.ran()], [0, true]);
  assert.match(approved.err, /plugin: \.\/judge\.ts \(sha256 \w+\)\n {4}with helper\.ts \(sha256 \w+\)\n/);
  assert.deepEqual([(await shown()).code, await stranger.ran()], [0, true]);
  await writeFile(helper, "export const changed = true;\n");
  assert.deepEqual([(await shown()).code, await stranger.ran()], [2, false]);
  await stranger.hone("validate", "--yes", stranger.file);
  assert.deepEqual([(await shown()).code, await stranger.ran()], [0, true]);
  await writeFile(join(stranger.dir, "judge.ts"), 'import "./helper.ts";\n' + judge(stranger.mark, "changed"));
  assert.deepEqual([(await shown()).code, await stranger.ran()], [2, false]);
});

const server = (extra: string) => `{ command: sh, args: [-c, "touch $0; exit 1", "{mark}"]${extra} }`;

Deno.test("a server is not started before it was approved, and a changed argument, variable or folder asks again", async () => {
  await using stranger = await Stranger.offers({});
  const offered = (extra: string) => stranger.writes({ server: server(extra).replace("{mark}", stranger.mark) });
  const evaluated = async (...words: string[]) => {
    const { code, err } = await stranger.hone(
      "evaluate",
      stranger.file,
      "--run-dir",
      join(stranger.dir, "run"),
      ...words,
    );
    return { code, err, ran: await stranger.ran() };
  };
  const discovered = async (...words: string[]) => {
    const { code, err } = await stranger.hone("discover", "--config", stranger.file, ...words);
    return { code, err, ran: await stranger.ran() };
  };
  await mkdir(join(stranger.dir, "copied"));
  for (const extra of ["", ", env: { A: b }", ", env: { A: c }", ", cwd: .", ", fixture: ./copied"]) {
    await offered(extra);
    for (const asked of [await evaluated(), await discovered()]) {
      assert.deepEqual([asked.code, asked.ran], [2, false], asked.err);
      assert.match(asked.err, / it: sh -c "touch \$0; exit 1" /);
      assert.match(asked.err, /NOT_CONSENTED/);
    }
    assert.equal((await discovered("--yes")).ran, true);
    const again = await discovered();
    assert.deepEqual([again.ran, again.err.includes("starts these programs")], [true, false]);
  }
  const measured = await evaluated();
  assert.deepEqual([measured.ran, measured.err.includes("starts these programs")], [true, false]);
});

Deno.test("nothing of a command can be hidden, and no secret is shown", async () => {
  await using stranger = await Stranger.offers({
    server: JSON.stringify({
      command: "sh",
      args: [
        "-c",
        "true\u001b[8m; evil-1\u001b[0m",
        "\u001b[2K\r",
        "a\nevil-2",
        "\u202eevil-3",
        "\u2066x\u200b",
        "b  c",
      ],
      env: {
        "API_TOKEN": "literal-secret",
        MODE: "\u001b]0;evil-4\u0007",
        DB: "postgres://me:hunter2@host/x",
        HOME_OF: "${HOME}",
      },
      cwd: ".",
      isolation: "container",
      container: { image: "img:1", network: "host", mounts: ["/:/host:rw"], args: ["--privileged", "\u001b[1A"] },
    }),
  });
  const { code, err } = await stranger.hone("evaluate", stranger.file);
  assert.equal(code, 2);
  assert.equal(
    err.split("\n").slice(1, -3).join("\n"),
    String
      .raw`  it: sh -c "true\u001b[8m; evil-1\u001b[0m" "\u001b[2K\r" "a\nevil-2" "\u{202e}evil-3" "\u{2066}x\u{200b}" "b  c"
    env: API_TOKEN=[redacted] MODE="\u001b]0;evil-4\u0007" DB=postgres://me:[redacted]@host/x HOME_OF=` + "${HOME}" +
      String.raw`
    cwd: .
    container: img:1, docker or podman, network host
    mounts: /:/host:rw
    arguments of run: --privileged "\u001b[1A"`,
  );
  // deno-lint-ignore no-control-regex -- that is what must not be there
  assert.doesNotMatch(err, /[\x00-\x09\x0b-\x1f\x7f\u200b\u202e\u2066]/);
});

Deno.test("a file that borrows another folder for its paths says which", async () => {
  await using stranger = await Stranger.offers({ stages: "  - use: ./judge.ts\n" });
  await using other = await Stranger.offers({});
  await writeFile(join(other.dir, "judge.ts"), judge(stranger.mark));
  await writeFile(stranger.file, `# resolved by hone from ${other.file}\n${await readFile(stranger.file, "utf8")}`);
  const { code, err } = await stranger.hone("graph", stranger.file);
  assert.deepEqual([code, await stranger.ran()], [2, false], err);
  assert.ok(err.includes(`\n  (paths are relative to ${other.dir})\n  plugin: ./judge.ts (sha256 `), err);
});

Deno.test("a program that the settings of a built-in plugin name is asked for as well", async () => {
  await using stranger = await Stranger.offers({});
  const python = join(stranger.dir, "python.sh");
  await writeFile(python, `#!/bin/sh\ntouch '${stranger.mark}'\n`, { mode: 0o755 });
  const text = await readFile(stranger.file, "utf8");
  await writeFile(
    stranger.file,
    text.replace(/^agent:.*\n/m, "model: smollm2-135m\nladder: []\n") +
      `  - use: trainer/mlx\n    with: { python: ${python} }\n`,
  );
  const { code, err } = await stranger.hone("run", stranger.file);
  assert.deepEqual([code, await stranger.ran()], [2, false], err);
  assert.ok(err.includes(`  trainer/mlx: ${python} (its python)\n`), err);
  const nested = `launch: [${python}, --nodes=1], rollouts: { python: ${python}, args: [--middleware, x.y] }`;
  await writeFile(
    stranger.file,
    (await readFile(stranger.file, "utf8")).replace(/- use: trainer\/mlx[^]*$/, "- use: trainer/lightning\n") +
      `    with: { ${nested} }\n`,
  );
  const second = await stranger.hone("run", stranger.file);
  assert.deepEqual([second.code, await stranger.ran()], [2, false], second.err);
  for (
    const line of [
      `  trainer/lightning: ${python} --nodes=1 (its launch)\n`,
      `  trainer/lightning: --middleware x.y (its rollouts.args)\n`,
      `  trainer/lightning: ${python} (its rollouts.python)\n`,
    ]
  ) assert.ok(second.err.includes(line), second.err);
});
