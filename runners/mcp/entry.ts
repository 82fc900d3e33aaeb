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
               Without it: ${[...free, "status"].join(", ")}.

  Runs are read from ./runs in the folder that the server is started in.
`;
}
