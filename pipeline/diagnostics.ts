/**
 * Every message that hone shows to a person, one code each, sorted by area; and the error that carries them.
 * A message says what could not be done, quotes the value, and says what is wanted; the hint says what to do next.
 *
 * How to add one: put a function into your area's object in `diagnostics/`, named as the code in lower case, and return
 * `say("CODE", message, hint?)`. Throw it with `throw new HoneError(area.code(…))`. Tests assert the whole message.
 * @module
 */
export { auth } from "./diagnostics/auth.ts";
export { chat, mcp } from "./diagnostics/servers.ts";
export { cli } from "./diagnostics/cli.ts";
export { config, loader, scenarios } from "./diagnostics/pipeline.ts";
export { control, runner, store } from "./diagnostics/run.ts";
export { toolLists } from "./diagnostics/tool_lists.ts";
export { tape } from "./diagnostics/tape.ts";
export { worker } from "./diagnostics/worker.ts";
export { counted, type Diagnostic, HoneError, messageOf, nearest, quote, typeName } from "./diagnostics/core.ts";
export { codeFrame, place, render } from "./render.ts";
