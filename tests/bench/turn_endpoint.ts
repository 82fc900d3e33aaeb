/**
 * A scripted OpenAI-compatible endpoint in a process of its own, so that its CPU is not counted: calls `echo` until the
 * last turn. Who sends `tools` is answered in native calls, everyone else in text with token ids.
 * Arguments: turns of a rollout, milliseconds until it answers.
 * @module
 */
const TURNS = Number(Deno.args[0] ?? 8);
const LATENCY_MS = Number(Deno.args[1] ?? 0);
const ids = Array.from({ length: 40 }, (_, i) => 1000 + i);
const logprobs = { content: ids.map((id) => ({ token: String(id), logprob: -0.25 })) };

Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(port),
}, async (request) => {
  const { messages, tools } = await request.json();
  if (!messages) return Response.json({});
  const turn = messages.filter(({ role }: { role: string }) => role === "assistant").length;
  if (LATENCY_MS > 0) await new Promise((resolve) => setTimeout(resolve, LATENCY_MS));
  const usage = { prompt_tokens: 200 + turn * 60, completion_tokens: ids.length, total_tokens: 240 + turn * 60 };
  const head = { id: "scripted", object: "chat.completion", created: 0, model: "scripted", usage };
  return Response.json({ ...head, ...(tools ? native(turn, tools[0]) : text(turn)) });
});

function text(turn: number) {
  const content = turn >= TURNS - 1 ? "Done." : `{"name":"echo","arguments":{"message":"turn ${turn}"}}`;
  return {
    prompt_token_ids: Array.from({ length: 200 + turn * 60 }, (_, i) => i),
    choices: [{
      index: 0,
      finish_reason: "stop",
      message: { role: "assistant", content },
      token_ids: ids,
      logprobs,
    }],
  };
}

function native(turn: number, tool: { function: { name: string } }) {
  const call = { name: tool.function.name, arguments: `{"message":"turn ${turn}"}` };
  const message = turn >= TURNS - 1
    ? { role: "assistant", content: "Done." }
    : { role: "assistant", content: null, tool_calls: [{ id: `call-${turn}`, type: "function", function: call }] };
  const finish_reason = turn >= TURNS - 1 ? "stop" : "tool_calls";
  return { choices: [{ index: 0, finish_reason, message }] };
}
