/**
 * Reserves stdout for the protocol. Any code in the server's process may print: plugins, and what they import. So the
 * server is a child process whose stdout is the client's stderr; it writes its messages to a fourth descriptor, which
 * this process relays to the client.
 * @module
 */
import { spawn } from "node:child_process";
import { Socket } from "node:net";
import process from "node:process";
import type { Duplex } from "node:stream";
import { ownCommand } from "./own_command.ts";

/** The argument that marks the child process. */
export const BEHIND = "--behind-own-stdout";
const DESCRIPTOR = 3;

/** Starts the server and relays its messages until it exits; resolves to its exit code. */
export async function relay(words: string[]): Promise<number> {
  const [command, ...args] = [...ownCommand(), "--mcp", ...words, BEHIND];
  const child = spawn(command!, args, { stdio: ["inherit", process.stderr.fd, "inherit", "pipe"] });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  const messages = child.stdio[DESCRIPTOR] as Duplex;
  messages.pipe(process.stdout);
  // The client has stopped reading.
  process.stdout.once("error", () => child.kill());
  return await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 1));
  });
}

/** In the child: the stream of the protocol. It closes when the relaying process exits. */
export function protocolStream(): Socket {
  return new Socket({ fd: DESCRIPTOR, readable: true, writable: true }).resume();
}
