/** Clients of `hone --mcp` read the project's files and runs, and nothing else. @module */
import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { liveRun } from "../fixtures/small_run.ts";
import { ROOT } from "../runs/hone_process.ts";

const SECRET = "hunter2";
const PIPELINE = `name: p\nsede: ${SECRET}\nstages: []\n`;

/** What a tool answered, as one text. */
interface Told {
  text: string;
  failed: boolean;
}

/** A project with a server of its own, and a neighbour that is none of the client's business. */
class Project implements AsyncDisposable {
  #client = new Client({ name: "test", version: "1" });
  private constructor(readonly home: string) {}

  static async open(flags: string[]): Promise<Project> {
    const project = new Project(await mkdtemp(join(tmpdir(), "hone-project-")));
    const { own, neighbour } = project;
    await mkdir(join(own, "runs"), { recursive: true });
    await mkdir(neighbour);
    for (const dir of [own, neighbour]) {
      await writeFile(join(dir, "p.yaml"), PIPELINE);
      const { end } = await liveRun(join(dir, "runs"), "files-1");
      await end("completed");
      await writeFile(join(dir, "runs/files-1/pipeline.yaml"), "name: p\nseed: 1\nstages: []\nevaluate: {}\n");
      await writeFile(join(dir, "runs/files-1/run.log"), SECRET);
    }
    const args = ["run", "-A", join(ROOT, "mod.ts"), "--mcp", ...flags];
    const env = { ...Deno.env.toObject(), HONE_CACHE_DIR: join(project.home, "cache") };
    const transport = new StdioClientTransport({ command: Deno.execPath(), args, cwd: own, env, stderr: "ignore" });
    await project.#client.connect(transport);
    return project;
  }

  get own() {
    return join(this.home, "own");
  }

  get neighbour() {
    return join(this.home, "neighbour");
  }

  async ask(name: string, args: Record<string, unknown>): Promise<Told> {
    const { content, isError } = await this.#client.callTool({ name, arguments: args });
    return { text: (content as { text: string }[]).map(({ text }) => text).join("\n"), failed: isError === true };
  }

  async read(uri: string): Promise<string> {
    const { contents } = await this.#client.readResource({ uri });
    return (contents as { text: string }[]).map(({ text }) => text).join("");
  }

  async [Symbol.asyncDispose]() {
    await this.#client.close();
    await rm(this.home, { recursive: true, force: true });
  }
}

const MODES = [[], ["--allow-run"]];

for (const flags of MODES) {
  const mode = ["hone --mcp", ...flags].join(" ");

  Deno.test(`${mode} reads no pipeline outside of its folder, by whatever path`, async () => {
    await using project = await Project.open(flags);
    const { own, neighbour } = project;
    await symlink(join(neighbour, "p.yaml"), join(own, "link.yaml"));
    await symlink(neighbour, join(own, "linked"));
    await symlink("/etc", join(own, "etc"));
    const paths = [
      ...[join(neighbour, "p.yaml"), "../neighbour/p.yaml", "runs/../../neighbour/p.yaml"],
      ...["link.yaml", "linked/p.yaml", "/etc/passwd", "etc/passwd", join(neighbour, "absent.yaml"), neighbour],
    ];
    const globs = [
      "../neighbour/*.yaml",
      "/etc/pass*",
      "*/../../neighbour/p.yaml",
      "{..,x}/neighbour/p.yaml",
      "linked/*",
    ];
    const calls = [
      ...[...paths, ...globs].map((file): [string, Record<string, unknown>] => ["validate", { files: [file] }]),
      ...paths.map((pipeline): [string, Record<string, unknown>] => ["graph", { pipeline }]),
      ...[neighbour, "..", "linked/runs"].map((dir): [string, Record<string, unknown>] => ["runs", { dir }]),
    ];
    for (const [name, args] of calls) {
      const { text, failed } = await project.ask(name, args);
      assert.equal(failed, true, `${name} ${JSON.stringify(args)}: ${text}`);
      assert.match(text, /^error\[PATH_OUTSIDE\] /, `${name} ${JSON.stringify(args)}`);
      assert.ok(!text.includes(SECRET));
    }
    // A glob that is all inside may still find a link that leads out.
    for (const files of [["*.yaml"], ["."]]) {
      const { text, failed } = await project.ask("validate", { files });
      assert.deepEqual([failed, text.includes("PATH_OUTSIDE")], [true, true], text);
    }
    const mine = await project.ask("validate", { files: ["p.yaml"] });
    assert.match(mine.text, /UNKNOWN_FIELD/);
  });

  Deno.test(`${mode} reads no run outside of its folder, and writes no report there`, async () => {
    await using project = await Project.open(flags);
    const { own, neighbour } = project;
    const theirs = join(neighbour, "runs/files-1");
    await symlink(theirs, join(own, "runs/linked"));
    await mkdir(join(own, "runs/forged"));
    await symlink(join(theirs, "run.duckdb"), join(own, "runs/forged/run.duckdb"));
    await writeFile(join(own, "runs/forged/pipeline.yaml"), PIPELINE);
    const before = [await readdir(theirs), await readdir(join(own, "runs/forged"))];
    for (const run of [theirs, "../neighbour/runs/files-1", "linked", "runs/linked", "forged"]) {
      for (
        const [name, args] of [["query", { run, sql: "FROM runs" }], ["report", { run }], ["status", { run }]] as const
      ) {
        const { text, failed } = await project.ask(name, args);
        assert.equal(failed, true, `${name} ${run}: ${text}`);
        assert.match(text, /^error\[PATH_OUTSIDE\] /, `${name} ${run}`);
      }
    }
    assert.deepEqual([await readdir(theirs), await readdir(join(own, "runs/forged"))], before);
    const { text } = await project.ask("runs", {});
    const states = JSON.parse(text).map(({ id, status }: Record<string, string>) => [id, status]);
    assert.deepEqual(Object.fromEntries(states), {
      "files-1": "completed",
      linked: "PATH_OUTSIDE",
      forged: "PATH_OUTSIDE",
    });
    await assert.rejects(project.read("hone://runs/linked/run.log"), /Cannot use/);
    assert.equal(await project.read("hone://runs/files-1/run.log"), SECRET);
    await rm(join(own, "runs/files-1/run.log"));
    await symlink(join(theirs, "run.log"), join(own, "runs/files-1/run.log"));
    await assert.rejects(project.read("hone://runs/files-1/run.log"), /Cannot use/);
  });
}

Deno.test("hone --mcp reads runs/ where it is a link to another disk", async () => {
  await using project = await Project.open([]);
  const { own, neighbour } = project;
  await rm(join(own, "runs"), { recursive: true });
  await symlink(join(neighbour, "runs"), join(own, "runs"));
  const { failed, text } = await project.ask("query", { run: "files-1", sql: "SELECT status FROM runs" });
  assert.deepEqual([failed, text], [false, '[{"status":"completed"}]']);
});

/** Files that lie in projects and hold secrets, none of them a pipeline. */
const OTHERS = {
  ".env": `API_KEY=${SECRET}\n`,
  passwd: `root:${SECRET}:0:0:root:/root:/bin/bash\n`,
  "secrets.yaml": `apiVersion: v1\ndata:\n  password: ${SECRET}\n`,
  "broken.yaml": `apiVersion: v1\ndata:\n  password: ${SECRET}\n - x: [\n`,
  "list.yaml": `- ${SECRET}\n`,
  "mcp.json": JSON.stringify({ mcpServers: { it: { command: "x", env: { KEY: SECRET } } } }),
};

Deno.test("no command shows a line of a file that is no pipeline", async () => {
  await using project = await Project.open([]);
  for (const [file, text] of Object.entries(OTHERS)) await writeFile(join(project.own, file), text);
  for (const file of Object.keys(OTHERS)) {
    const answers = [
      await project.ask("validate", { files: [file] }),
      await project.ask("graph", { pipeline: file }),
      ...await Promise.all([["validate"], ["run"], ["validate", "--format", "json"]].map(async (words) => {
        const args = ["run", "-A", join(ROOT, "mod.ts"), ...words, join(project.own, file)];
        const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, stdin: "null" }).output();
        return { text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
      })),
    ];
    for (const { text } of answers) {
      assert.match(text, /NOT_A_MAP|NOT_A_PIPELINE/, `${file}: ${text}`);
      assert.ok(!text.includes(SECRET), `${file}: ${text}`);
    }
  }
});

Deno.test("the help of --mcp says all that --allow-run opens", async () => {
  const args = ["run", "-A", join(ROOT, "mod.ts"), "--mcp", "--help"];
  const { stdout } = await new Deno.Command(Deno.execPath(), { args, stdin: "null" }).output();
  const help = new TextDecoder().decode(stdout).replaceAll(/\s+/g, " ");
  for (const opened of ["start any command", "load the plugins that any pipeline file names", "write files anywhere"]) {
    assert.ok(help.includes(opened), help);
  }
});
