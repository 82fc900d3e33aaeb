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
