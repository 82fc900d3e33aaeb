/**
 * `hone --mcp`: parses its flags and starts the server in a child process with a separate stdout. Imports nothing
 * heavy: this process only relays the server's messages.
 * @module
 */
import { BEHIND, relay } from "./own_stdout.ts";

/** Output for help and errors. */
interface Output {
  out(text: string): void;
  err(text: string): void;
}

/** Serves until the client closes stdin; resolves to the exit code. */
export async function serve(words: string[], output: Output): Promise<number> {
  const known = ["--allow-run", "--help"];
  const strange = words.find((word) => ![...known, "-h", BEHIND].includes(word));
  if (strange !== undefined) {
    const { cli, HoneError, nearest, render } = await import("../../pipeline/diagnostics/mod.ts");
    const refusal = new HoneError(cli.unknown_flag("--mcp", strange, nearest(strange, known), known));
    output.err(render(refusal.diagnostics, "text"));
    return 2;
  }
  if (words.includes("--help") || words.includes("-h")) {
    output.out(await help());
    return 0;
  }
  if (!words.includes(BEHIND)) return await relay(words);
  return await (await import("./server.ts")).serveHone(words.includes("--allow-run"));
}

async function help(): Promise<string> {
  const { toolNames } = await import("./tools.ts");
  const { free, allowed } = await toolNames();
  return `hone --mcp: hone's commands as MCP tools, over stdio.

examples:
  { "mcpServers": { "hone": { "command": "hone", "args": ["--mcp"] } } }
  { "mcpServers": { "hone": { "command": "hone", "args": ["--mcp", "--allow-run"] } } }

  --allow-run  Also offer the commands that start programs, write files or stop runs: ${allowed.join(", ")}.
               This lets the client do on this machine what you could, without asking you: start any command (discover,
               call), start the servers and load the plugins that any pipeline file names (run, resume, evaluate, and
               validate, graph and list too), read and write files anywhere, use the variables of this environment, and
               stop runs.
               Without it: ${[...free, "status"].join(", ")}; they start no program that a file names and load no
               plugin from a file, and report only writes the reports of a run into its folder.

  Commands that only read, and report, use files below the folder that the server is started in, and runs below its
  ./runs, with or without --allow-run; links that lead elsewhere are refused.
`;
}
