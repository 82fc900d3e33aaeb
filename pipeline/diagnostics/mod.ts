/**
 * Every message that hone shows to a person, one code each, grouped by area; and the error that carries them.
 * A message says what could not be done, quotes the value and names what was expected; the hint says what to do next.
 *
 * To add one: put a function into your area's object in `diagnostics/`, named like the code in lower case, and return
 * `say("CODE", message, hint?)`. Throw it with `throw new HoneError(area.code(…))`. Tests assert the whole message.
 * @module
 */
export { audits } from "./audit_messages.ts";
export { auth } from "./auth_messages.ts";
export { chat, mcp } from "./server_messages.ts";
export { cli } from "./cli_messages.ts";
export { comparisons } from "./comparison_messages.ts";
export { folders } from "./folder_messages.ts";
export { labels } from "./label_messages.ts";
export { llm } from "./llm_messages.ts";
export { config, loader, scenarios } from "./pipeline_messages.ts";
export { scenarioChecks } from "./scenario_check_messages.ts";
export { control, runner, store } from "./run_messages.ts";
export { toolLists } from "./tool_list_messages.ts";
export { tape } from "./tape_messages.ts";
export { trackers } from "./tracker_messages.ts";
export { worker } from "./worker_messages.ts";
export {
  counted,
  type Diagnostic,
  HoneError,
  messageOf,
  nearest,
  quote,
  shellPath,
  sizeOf,
  typeName,
} from "./diagnostic.ts";
export { codeFrame, place, render } from "./render.ts";
export { diagnosticsOf, messageWithoutStack, placeOf, reasonOf } from "./thrown.ts";
