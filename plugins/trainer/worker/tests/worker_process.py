"""A worker in a process of its own, spoken to as hone speaks to it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import urllib.request
from typing import Any

PACKAGE = pathlib.Path(__file__).parent.parent
CACHE = os.environ.get("HONE_TEST_CACHE", str(pathlib.Path.home() / ".cache" / "hone-test"))
TOKEN = "t0k3n"
SYSTEM = {"role": "system", "content": "You answer with one short tool call as JSON. Tools: list, read, write."}
INIT = {
    "model": "smollm2-135m",
    "cache_dir": CACHE,
    "context_tokens": 1024,
    "seed": 7,
    "lora": {"rank": 8, "alpha": 16, "last_layers": 4, "target_modules": "all-linear"},
    "optimizer": {"learning_rate": 1e-3},
}


class Process:
    """A worker started as hone starts it."""

    def __init__(self, folder: pathlib.Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "hone_worker"], cwd=folder, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(folder / "worker.log").open("ab"))
        self.events: list[dict] = []
        self.number = 0
        self.url = ""

    def call(self, method: str, **params: Any) -> dict:
        self.number += 1
        line = json.dumps({"v": 1, "id": self.number, "method": method, "params": params}) + "\n"
        assert self.child.stdin is not None and self.child.stdout is not None
        self.child.stdin.write(line.encode())
        self.child.stdin.flush()
        for answer in self.child.stdout:
            message = json.loads(answer)
            if "event" in message:
                self.events.append(message)
                continue
            assert message["id"] == self.number
            return message.get("result") or message.get("error") or {}
        raise AssertionError("the worker ended")

    def open(self, max_staleness: int = 0, **changes: Any) -> dict:
        made = self.call("init", **{**INIT, **changes})
        served = self.call(
            "serve", host="127.0.0.1", port=0, token=TOKEN, max_concurrency=32, max_staleness=max_staleness)
        self.url = served["base_url"]
        return made

    def chat(self, messages: list[dict], **options: Any) -> dict:
        body = {"messages": messages, "max_tokens": 16, "logprobs": True, "return_token_ids": True, **options}
        request = urllib.request.Request(
            f"{self.url}/chat/completions", json.dumps(body).encode(), {"authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read())

    def sampled(self, source: pathlib.Path, to: pathlib.Path) -> pathlib.Path:
        """Writes a batch with the logprobs that the current policy gives its tokens."""
        lines = [json.loads(line) for line in source.read_text().splitlines()]
        for line, row in zip(lines, self.call("logprobs", batch=str(source))["rows"], strict=True):
            logprobs = iter(row["logprobs"])
            for turn in line["turns"]:
                turn["logprobs"] = [next(logprobs) for _ in turn["output_ids"]]
        to.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return to

    def end(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()


def rollout(worker: Process, index: int, turns: int = 2, version: int | None = None, **options: Any) -> dict:
    """A rollout through a handle, as a line of batch.v1. ``version``: of the policy that has to answer, if it matters."""
    messages = [SYSTEM, {"role": "user", "content": f"List the folder number {index % 4}."}]
    made, held = [], []
    handle = f"r{index}" if version is None else f"r{version}-{index}"
    for turn in range(turns):
        reply = worker.chat(messages, rollout=handle, seed=10 * index + turn, **options)
        choice, prompt = reply["choices"][0], reply["prompt_token_ids"]
        assert prompt[: len(held)] == held and version in (None, reply["policy_version"])
        made.append({
            "prefix_len": len(held),
            "prompt_suffix_ids": prompt[len(held):],
            "output_ids": choice["token_ids"],
            "logprobs": [item["logprob"] for item in choice["logprobs"]["content"]],
            "finish_reason": choice["finish_reason"],
        })
        held = prompt + choice["token_ids"]
        messages = [*messages, choice["message"], {"role": "user", "content": "[] is empty. Read a file."}]
    return {"schema": "batch.v1", "rollout_id": f"r{index}", "group_id": f"g{index % 4}", "policy_version": version or 0,
            "advantage": 1.0 if index % 2 else -0.5, "weight": 1.0, "turns": made}


def write(path: pathlib.Path, lines: list[dict]) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)
