/**
 * The tool loop: the model replies, its calls are made and their results returned, until it answers or reaches a limit.
 * Every failure is recorded as a turn, a call or an outcome; only bugs in hone throw.
 * @module
 */
import {
  clip,
  complete,
  type Completion,
  type CompletionRequest,
  completionTool,
  correction,
  definePlugin,
  demonstration,
  EndpointError,
  History,
  type NativeCall,
  offeredTools,
  opening,
  parseCalls,
  type Plugin,
  releaseRollout,
  templateTools,
  TimeUp,
  within,
} from "@hone/hone";
import type {
  CallResult,
  ChatMessage,
  JsonObject,
  Outcome,
  RolloutArgs,
  RolloutRecord,
  ToolCallRecord,
  ToolSpec,
  TurnRecord,
} from "@hone/hone";
import { z } from "zod";

const plugin: Plugin<"rollout"> = definePlugin({
  kind: "rollout",
  name: "chat",
  summary: "Runs the policy in a tool loop until it answers; the `agent` block sets its limits.",
  config: z.strictObject({}),
  examples: [{ title: "Defaults", with: {} }],
  create: () => ({
    async *run(args) {
      const loop = new ToolLoop(args);
      try {
        return yield* loop.play();
      } finally {
        await releaseRollout(args.policy, args.rollout_id);
      }
    },
    demonstrate: demonstration,
  }),
});
export default plugin;

interface Call {
  id: string;
  name: string;
  arguments: JsonObject;
}

/** One parsed turn: its calls, and what is invalid in it. */
interface ReadTurn {
  record: TurnRecord;
  message: ChatMessage;
  content: string;
}

/** One rollout in progress. */
class ToolLoop {
  readonly #tools: ToolSpec[];
  readonly #ending: ToolSpec | undefined;
  readonly #shown: ToolSpec[];
  readonly #template: ToolSpec[];
  readonly #history: History;
  #input: ChatMessage[];
  #bad_in_a_row = 0;
  #last_call = "";
  #repeats = 0;

  constructor(readonly args: RolloutArgs) {
    const { agent, scenario, environment, policy } = args;
    this.#tools = offeredTools(scenario, environment.tools);
    this.#ending = agent.complete_task ? completionTool(this.#tools) : undefined;
    this.#shown = this.#ending ? [...this.#tools, this.#ending] : this.#tools;
    this.#template = templateTools(agent, this.#shown);
    this.#history = new History(policy, agent, this.#template);
    this.#input = this.#history.add(opening(agent, policy, scenario, this.#shown));
  }

  async *play(): AsyncGenerator<RolloutRecord, Outcome> {
    const { agent, signal } = this.args;
    for (let index = 0; index < agent.max_turns; index++) {
      signal.throwIfAborted();
      const completion = await this.#sample(index);
      if ("end" in completion) return completion;
      const { record, message, content } = this.#read(index, completion);
      yield record;
      this.#history.add([message]);
      if (record.finish_reason === "length") return ended("length", "the turn was cut off at max_tokens");
      if (record.finish_reason === "error") return ended("endpoint_failed", "the endpoint broke off the turn");
      const outcome = record.tool_calls.length > 0
        ? yield* this.#callAll(record)
        : record.invalid_call === undefined
        ? { end: "answered" as const, answer: content }
        : this.#correct(record.invalid_call);
      if (outcome) return outcome;
    }
    return ended("max_turns", `no answer within ${agent.max_turns} turns`);
  }

  async #sample(index: number): Promise<Completion | Outcome> {
    const { policy, agent, seed, rollout_id, signal } = this.args;
    this.#history.fit();
    const max_tokens = Math.min(agent.max_tokens, policy.sampling.max_tokens);
    const request = { policy, messages: this.#history.messages, tools: this.#template, rollout_id, max_tokens };
    try {
      return await within(
        agent.turn_timeout_secs,
        signal,
        (inner) => this.#complete({ ...request, seed: (seed + index) & 0x7fffffff, signal: inner }),
      );
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof TimeUp) return ended("timeout", `turn ${index + 1}: ${error.message}`);
      if (error instanceof EndpointError) {
        return ended(error.context_full ? "context_full" : "endpoint_failed", error.message);
      }
      throw error;
    }
  }

  /** Requests a reply; a conversation that is too long for the endpoint is shortened and sent again. */
  async #complete(request: CompletionRequest): Promise<Completion> {
    for (;;) {
      try {
        const completion = await complete(request);
        this.#history.answered(completion.usage.prompt_tokens);
        return completion;
      } catch (error) {
        const full = error instanceof EndpointError && error.context_full;
        if (!full || !this.#history.refused()) throw error;
      }
    }
  }

  #read(index: number, completion: Completion): ReadTurn {
    const { text, native_calls, usage, finish_reason, seconds } = completion;
    const { prompt_token_ids, output_token_ids, logprobs } = completion;
    const parsed = native_calls
      ? { calls: [], content: text.trim(), reasoning: undefined, invalid: undefined }
      : parseCalls(text, this.args.policy.tool_format, this.#shown);
    const tool_calls = native_calls
      ? identified(native_calls, index)
      : parsed.calls.map((call, number) => ({ id: callId(index, number), ...call }));
    const invalid = parsed.invalid ?? native_calls?.flatMap((call) => "invalid" in call ? [call.invalid] : [])[0];
    const reasoning = completion.reasoning ?? parsed.reasoning;
    const shortened = this.#history.takeShortened();
    const record: TurnRecord = {
      type: "turn",
      index,
      input: this.#input,
      ...(shortened.length > 0 ? { shortened } : {}),
      ...(index === 0 ? { tools: this.#shown.map(({ model_name }) => model_name) } : {}),
      text,
      ...(reasoning === undefined ? {} : { reasoning }),
      tool_calls: invalid === undefined ? tool_calls : [],
      ...(invalid === undefined ? {} : { invalid_call: invalid }),
      ...(prompt_token_ids ? { prompt_token_ids } : {}),
      ...(output_token_ids ? { output_token_ids } : {}),
      ...(logprobs ? { logprobs } : {}),
      finish_reason,
      ...(completion.policy_version === undefined ? {} : { policy_version: completion.policy_version }),
      prompt_tokens: usage.prompt_tokens,
      output_tokens: usage.output_tokens,
      seconds,
    };
    const native = native_calls && invalid === undefined;
    const message: ChatMessage = native
      ? { role: "assistant", content: text, tool_calls: record.tool_calls.map(asNative) }
      : { role: "assistant", content: text || asText(native_calls) };
    return { record, message, content: parsed.content };
  }

  async *#callAll(turn: TurnRecord): AsyncGenerator<RolloutRecord, Outcome | undefined> {
    const { agent } = this.args;
    const shown = [];
    for (const [index, call] of turn.tool_calls.entries()) {
      if (call.name === this.#ending?.model_name) {
        const { answer } = call.arguments;
        return { end: "completed", answer: typeof answer === "string" ? answer : JSON.stringify(answer ?? "") };
      }
      const record = await this.#call(turn, index, call);
      yield record;
      if (record.outcome === "server_died") return ended("server_failed", record.text);
      this.#count(call, record);
      shown.push({ id: call.id, outcome: record.outcome, text: record.text });
    }
    if (this.#bad_in_a_row >= agent.max_invalid_calls) {
      return ended("invalid_calls", `${this.#bad_in_a_row} invalid calls in a row`);
    }
    if (this.#repeats >= agent.max_repeated_calls) {
      return ended("repeated_calls", `the same call ${this.#repeats} times in a row`);
    }
    this.#input = this.#history.addResults(shown);
  }

  async #call(turn: TurnRecord, index: number, call: Call): Promise<ToolCallRecord> {
    const { agent, environment, signal } = this.args;
    const tool = this.#tools.find(({ model_name }) => model_name === call.name);
    const done = tool
      ? await environment.call(call.name, call.arguments, { signal })
      : unknownTool(call.name, this.#shown);
    signal.throwIfAborted();
    return {
      type: "tool_call",
      turn: turn.index,
      index,
      server: tool?.server ?? "",
      tool: tool?.name ?? call.name,
      arguments: call.arguments,
      ...done,
      ...clip(done.text, agent.max_result_chars),
    };
  }

  #count(call: Call, { outcome }: ToolCallRecord): void {
    const bad = outcome === "unknown_tool" || outcome === "invalid_arguments";
    this.#bad_in_a_row = bad ? this.#bad_in_a_row + 1 : 0;
    const key = JSON.stringify([call.name, call.arguments]);
    this.#repeats = key === this.#last_call ? this.#repeats + 1 : 1;
    this.#last_call = key;
  }

  #correct(reason: string): Outcome | undefined {
    this.#bad_in_a_row++;
    if (this.#bad_in_a_row >= this.args.agent.max_invalid_calls) {
      return ended("invalid_calls", `${this.#bad_in_a_row} invalid calls in a row: ${reason}`);
    }
    this.#input = this.#history.add(correction(reason, this.args.policy));
  }
}

function ended(end: Outcome["end"], cause: string): Outcome {
  return { end, answer: null, cause };
}

/** Nine letters and digits: some chat templates (Mistral's) accept no other ids. */
function callId(turn: number, number: number): string {
  return `call${String(turn % 1000).padStart(3, "0")}${String(number % 100).padStart(2, "0")}`;
}

/** The valid calls, with ids by hone if the endpoint's are missing or not unique. */
function identified(calls: NativeCall[], turn: number): Call[] {
  const unique = new Set(calls.map(({ id }) => id)).size === calls.length && calls.every(({ id }) => id !== "");
  return calls.flatMap((call, number) => {
    if (!("arguments" in call)) return [];
    const { id, name, arguments: given } = call;
    return [{ id: unique ? id : callId(turn, number), name, arguments: given }];
  });
}

/** How unreadable calls are shown to the model: no template would accept their arguments. */
function asText(calls: NativeCall[] | undefined): string {
  return (calls ?? []).map(({ name, written }) => `${name}(${written})`).join("\n");
}

function asNative({ id, name, arguments: given }: Call): NonNullable<ChatMessage["tool_calls"]>[number] {
  return { id, type: "function", function: { name, arguments: JSON.stringify(given) } };
}

function unknownTool(name: string, tools: ToolSpec[]): CallResult {
  const text = `no tool is called ${JSON.stringify(name)}; tools: ${tools.map((tool) => tool.model_name).join(", ")}`;
  return { outcome: "unknown_tool", text, result: { error: { code: "unknown_tool", message: text } }, seconds: 0 };
}
