/**
 * API for plugins that query a policy: endpoints, formats of tool calls, conversations, time limits.
 * @module
 */
export { completionTool, correction, demonstration, offeredTools, opening, templateTools } from "./conversation.ts";
export { limited, pause, TimeUp, within } from "../common/deadline.ts";
export { complete, type Completion, type CompletionRequest, type NativeCall, releaseRollout } from "./completions.ts";
export { EndpointError, type Heard, post, waitFor } from "./endpoint_http.ts";
export {
  clip,
  parseCalls,
  type ParsedText,
  renderCall,
  renderTools,
  resultMessages,
  type WrittenCall,
} from "./formats.ts";
export { History } from "./history.ts";
