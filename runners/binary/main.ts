/**
 * The entry of the compiled program: the command line, and nothing else. Files that other programs read (the worker's
 * Python) are embedded by `build.ts` and extracted on first start.
 * @module
 */
import { main } from "../cli/command_line.ts";

Deno.exit(await main(Deno.args));
