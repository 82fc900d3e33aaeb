/** A scripted OpenAI-compatible endpoint in a process of its own, so that its CPU is not counted. @module */
const TURNS = Number(Deno.args[0] ?? 8);
const ids = Array.from({ length: 40 }, (_, i) => 1000 + i);
const content = ids.map((id) => ({ token: String(id), logprob: -0.25 }));

Deno.serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => console.log(port),
}, async (request) => {
  const { messages } = await request.json();
  if (!messages) return Response.json({});
  const turn = messages.filter(({ role }: { role: string }) => role === "assistant").length;
  const text = turn >= TURNS - 1 ? "Done." : `{"name":"echo","arguments":{"message":"turn ${turn}"}}`;
  return Response.json({
    prompt_token_ids: Array.from({ length: 200 + turn * 60 }, (_, i) => i),
    choices: [{
      index: 0,
      finish_reason: "stop",
      message: { role: "assistant", content: text },
      token_ids: ids,
      logprobs: { content },
    }],
    usage: { prompt_tokens: 200 + turn * 60, completion_tokens: ids.length },
  });
});
