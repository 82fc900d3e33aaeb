"""The scripted work of `turn_cost.ts` on openai-agents: a rollout is one `Runner.run`, default settings.

Arguments: port of the endpoint, rollouts, how many at once, port of the MCP server (the tool is in process without one).
Prints one JSON object: turns, and milliseconds of this process's CPU for each.
"""

import asyncio
import json
import sys
import time

from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from agents.mcp import MCPServerStreamableHttp
from openai import AsyncOpenAI

PORT, ROLLOUTS, AT_ONCE = (int(word) for word in sys.argv[1:4])
SERVER = int(sys.argv[4]) if len(sys.argv) > 4 else None
TURNS = 8


@function_tool
def echo(message: str) -> str:
    """Says it again."""
    return message


async def rollout(model: OpenAIChatCompletionsModel) -> int:
    settings = ModelSettings(max_tokens=64)
    if SERVER is None:
        agent = Agent(name="bench", model=model, model_settings=settings, tools=[echo])
        result = await Runner.run(agent, "Talk.", max_turns=TURNS + 1)
    else:
        async with MCPServerStreamableHttp({"url": f"http://127.0.0.1:{SERVER}/mcp"}, cache_tools_list=True) as server:
            agent = Agent(name="bench", model=model, model_settings=settings, mcp_servers=[server])
            result = await Runner.run(agent, "Talk.", max_turns=TURNS + 1)
    return len(result.raw_responses)


async def main() -> None:
    # Its tracing sends records to a service on the internet.
    set_tracing_disabled(True)
    client = AsyncOpenAI(base_url=f"http://127.0.0.1:{PORT}/v1", api_key="none")
    model = OpenAIChatCompletionsModel(model="scripted", openai_client=client)
    slots = asyncio.Semaphore(AT_ONCE)

    async def one() -> int:
        async with slots:
            return await rollout(model)

    await asyncio.gather(*(one() for _ in range(min(4, ROLLOUTS))))
    began = time.process_time()
    turns = sum(await asyncio.gather(*(one() for _ in range(ROLLOUTS))))
    print(json.dumps({"turns": turns, "cpu_ms_per_turn": (time.process_time() - began) * 1000 / turns}))


asyncio.run(main())
