"""The scripted work of `turn_cost.ts` on Inspect AI: a rollout is one sample of an evaluation, default settings.

Arguments: port of the endpoint, rollouts, how many at once, port of the MCP server (the tool is in process without one).
Prints one JSON object: turns, and milliseconds of this process's CPU for each.
"""

import json
import os
import sys
import tempfile
import time

from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, get_model
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import mcp_server_http, mcp_tools, tool

PORT, ROLLOUTS, AT_ONCE = (int(word) for word in sys.argv[1:4])
SERVER = int(sys.argv[4]) if len(sys.argv) > 4 else None


@tool
def echo():
    async def execute(message: str) -> str:
        """Says it again.

        Args:
            message: What to say.
        """
        return message

    return execute


def run(rollouts: int, folder: str) -> int:
    if SERVER is None:
        tools = use_tools(echo())
    else:
        server = mcp_server_http(name="bench", url=f"http://127.0.0.1:{SERVER}/mcp")
        tools = use_tools(mcp_tools(server))
    model = get_model(
        "openai-api/bench/scripted",
        base_url=f"http://127.0.0.1:{PORT}/v1",
        api_key="none",
        memoize=False,
    )
    samples = [Sample(id=index + 1, input="Talk.", target="Done") for index in range(rollouts)]
    task = Task(dataset=samples, solver=[tools, generate()], scorer=includes())
    logs = eval(
        task,
        model=model,
        max_samples=AT_ONCE,
        max_connections=AT_ONCE,
        max_tokens=64,
        display="none",
        log_dir=folder,
    )
    if logs[0].status != "success" or not logs[0].samples:
        raise SystemExit(f"the evaluation ended as {logs[0].status}: {logs[0].error}")
    return sum(isinstance(message, ChatMessageAssistant) for sample in logs[0].samples for message in sample.messages)


os.environ["BENCH_API_KEY"] = "none"
with tempfile.TemporaryDirectory() as folder:
    run(4, folder)
    began = time.process_time()
    turns = run(ROLLOUTS, folder)
    print(json.dumps({"turns": turns, "cpu_ms_per_turn": (time.process_time() - began) * 1000 / turns}))
