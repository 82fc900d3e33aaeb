/**
 * Keeps stdout the protocol's own. Whatever runs in the server's process may print: plugins, and what they import. So the
 * server is a child whose stdout is the client's stderr, and writes its messages to a fourth descriptor, which this
 * process hands on to the client and to nobody else.
 * @module
 */
import { spawn } from "node:child_process";
import { Socket } from "node:net";
import process from "node:process";
import type { Duplex } from "node:stream";
import { ownCommand } from "./own_command.ts";

/** The word that tells the child that it is one. */
export const BEHIND = "--behind-own-stdout";
const DESCRIPTOR = 3;

/** Starts the server and hands on its messages until it has ended; resolves to its exit code. */
export async function relay(words: string[]): Promise<number> {
  const [command, ...args] = [...ownCommand(), "--mcp", ...words, BEHIND];
  const child = spawn(command!, args, { stdio: ["inherit", process.stderr.fd, "inherit", "pipe"] });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  const messages = child.stdio[DESCRIPTOR] as Duplex;
  messages.pipe(process.stdout);
  // A client that no longer reads is gone.
  process.stdout.once("error", () => child.kill());
  return await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 1));
  });
}

/** In the child: where the protocol is written. It closes when the process that hands on is gone. */
export function protocolStream(): Socket {
  return new Socket({ fd: DESCRIPTOR, readable: true, writable: true }).resume();
}
