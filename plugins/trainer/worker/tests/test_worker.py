"""The whole process with the real small model: chat, train, publish, save, die, resume."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

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
SYSTEM = {"role": "system", "content": "You answer with one short tool call as JSON. Tools: list, read, write."}


class Process:
    """A worker started as hone starts it."""

    def __init__(self, folder: pathlib.Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(PACKAGE)}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "hone_worker", "mlx"], cwd=folder, env=environment,
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

    def open(self, **changes: Any) -> dict:
        made = self.call("init", **{**INIT, **changes})
        self.url = self.call("serve", host="127.0.0.1", port=0, token=TOKEN, max_concurrency=32)["base_url"]
        return made

    def chat(self, messages: list[dict], **options: Any) -> dict:
        body = {"messages": messages, "max_tokens": 16, "logprobs": True, "return_token_ids": True, **options}
        request = urllib.request.Request(
            f"{self.url}/chat/completions", json.dumps(body).encode(), {"authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read())

    def end(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()


@pytest.fixture
def start(tmp_path: pathlib.Path) -> Iterator[Any]:
    begun: list[Process] = []

    def begin() -> Process:
        begun.append(Process(tmp_path))
        return begun[-1]

    yield begin
    for process in begun:
        process.end()


def two_turns(worker: Process, index: int) -> dict:
    """A rollout of two turns through a handle, as a line of batch.v1."""
    messages = [SYSTEM, {"role": "user", "content": f"List the folder number {index % 4}."}]
    turns, held = [], []
    for turn in range(2):
        reply = worker.chat(messages, rollout=f"r{index}", seed=10 * index + turn)
        choice, prompt = reply["choices"][0], reply["prompt_token_ids"]
        assert prompt[: len(held)] == held
        turns.append({
            "prefix_len": len(held),
            "prompt_suffix_ids": prompt[len(held):],
            "output_ids": choice["token_ids"],
            "logprobs": [item["logprob"] for item in choice["logprobs"]["content"]],
            "finish_reason": choice["finish_reason"],
        })
        held = prompt + choice["token_ids"]
        messages = [*messages, choice["message"], {"role": "user", "content": "[] is empty. Read a file."}]
    return {"schema": "batch.v1", "rollout_id": f"r{index}", "group_id": f"g{index % 4}", "policy_version": 0,
            "advantage": 1.0 if index % 2 else -0.5, "weight": 1.0, "turns": turns}


def write(path: pathlib.Path, lines: list[dict]) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def greedy(worker: Process) -> list[int]:
    return worker.chat([SYSTEM, {"role": "user", "content": "List all."}], temperature=0)["choices"][0]["token_ids"]


def test_the_worker_samples_trains_publishes_and_resumes(start: Any, tmp_path: pathlib.Path) -> None:
    worker = start()
    hello = worker.call("hello")
    assert (hello["protocol"], hello["backend"]) == (1, "mlx")
    assert worker.call("render", messages=[SYSTEM])["code"] == "NOT_INITIALISED"
    made = worker.open()
    assert made["step"] == 0 and made["model"]["architecture"] == "llama" and made["model"]["fast_path"]
    assert not made["model"]["renders_tools"] and made["model"]["eos_token_ids"] == [2]

    with ThreadPoolExecutor(8) as pool:
        rollouts = list(pool.map(lambda index: two_turns(worker, index), range(8)))
    again = two_turns(worker, 3)
    for alone, crowded in zip(again["turns"], rollouts[3]["turns"], strict=True):
        assert alone["output_ids"] == crowded["output_ids"]
        assert alone["logprobs"] == pytest.approx(crowded["logprobs"], abs=1e-3)
    batch = write(tmp_path / "batch.jsonl", rollouts)
    step = worker.call("train_step", step=1, batch=batch, loss={"preset": "cispo"})
    assert step["mismatch_abs"] < 1e-3 and step["mismatch_max"] < 1e-2
    assert step["tokens"] == sum(len(turn["output_ids"]) for line in rollouts for turn in line["turns"])
    assert step["forks"] == 0 and step["grad_norm"] > 0 and step["physical_tokens"] < step["logical_tokens"]
    assert worker.call("train_step", step=1, batch=batch, loss={"preset": "cispo"}) == step

    before = greedy(worker)
    assert worker.call("publish", version=1) == {"version": 1, "model": "policy-000001"}
    after = worker.chat([SYSTEM, {"role": "user", "content": "Go."}], model="policy-000001", seed=3)
    row = {**rollouts[0], "policy_version": 1, "turns": [{
        "prefix_len": 0, "prompt_suffix_ids": after["prompt_token_ids"],
        "output_ids": after["choices"][0]["token_ids"], "logprobs": None, "finish_reason": "stop"}]}
    again_logp = worker.call("logprobs", batch=write(tmp_path / "one.jsonl", [row]))["rows"][0]["logprobs"]
    said = [item["logprob"] for item in after["choices"][0]["logprobs"]["content"]]
    assert again_logp == pytest.approx(said, abs=1e-3)
    trained = greedy(worker)

    saved = worker.call("save", dir=str(tmp_path / "step-1"))
    assert saved["bytes"] > 0
    os.kill(worker.child.pid, signal.SIGKILL)
    worker.child.wait()

    second = start()
    assert second.open(resume_dir=str(tmp_path / "step-1"))["step"] == 1
    assert greedy(second) == before
    second.call("publish", version=1)
    assert greedy(second) == trained
    assert second.call("train_step", step=1, batch=batch, loss={"preset": "cispo"}) == step
    second.call("publish", version=2, dir=str(tmp_path / "step-1"))
    assert greedy(second) == trained
    second.call("publish", version=0)
    assert greedy(second) == before
    assert second.call("shutdown") == {}
    assert second.child.wait(20) == 0


def test_supervised_ids_equal_what_the_endpoint_sees(start: Any, tmp_path: pathlib.Path) -> None:
    worker = start()
    worker.open()
    user, tool = {"role": "user", "content": "List all."}, {"role": "tool", "content": "a.txt"}
    first = worker.chat([SYSTEM, user], rollout="d", max_tokens=60, seed=5)
    said = first["choices"][0]["message"]
    second = worker.chat([SYSTEM, user, said, tool], rollout="d")
    shown = worker.call("demonstrate", conversations=[
        {"id": "c", "messages": [SYSTEM, user, said, tool, {"role": "assistant", "content": "done"}]}])
    turns = shown["conversations"][0]["turns"]
    assert turns[0]["prompt_ids"] == first["prompt_token_ids"]
    if turns[0]["output_ids"] == first["choices"][0]["token_ids"]:
        assert turns[1]["prompt_ids"] == second["prompt_token_ids"]
    rendered = worker.call("render", messages=[SYSTEM, user])
    assert rendered["token_ids"] == first["prompt_token_ids"]
    line = {"schema": "batch.v1", "rollout_id": "c", "group_id": "c", "policy_version": 0, "advantage": 0,
            "weight": 1.0, "turns": [
                {"prefix_len": 0, "prompt_suffix_ids": turns[0]["prompt_ids"], "output_ids": turns[0]["output_ids"],
                 "logprobs": None, "finish_reason": "stop"}]}
    batch = write(tmp_path / "sft.jsonl", [line])
    losses = [worker.call("supervise", step=step, batch=batch)["loss"] for step in range(1, 5)]
    assert losses[-1] < losses[0]


def test_any_architecture_trains_and_serves_what_it_learned(
    start: Any, tmp_path: pathlib.Path, qwen_folder: pathlib.Path
) -> None:
    worker = start()
    made = worker.open(model=str(qwen_folder), context_tokens=512)
    assert not made["model"]["fast_path"] and made["model"]["architecture"] == "qwen3"
    with ThreadPoolExecutor(4) as pool:
        rollouts = list(pool.map(lambda index: two_turns(worker, index), range(4)))
    batch = write(tmp_path / "batch.jsonl", rollouts)
    before = worker.call("logprobs", batch=batch)["rows"]
    step = worker.call("train_step", step=1, batch=batch, loss={"preset": "cispo"}, learning_rate=0.05)
    assert step["mismatch_abs"] < 1e-3 and step["grad_norm"] > 0
    # Until it is published, the endpoint samples from the old policy.
    same = two_turns(worker, 2)["turns"]
    assert [turn["output_ids"] for turn in same] == [turn["output_ids"] for turn in rollouts[2]["turns"]]
    worker.call("publish", version=1)
    fresh = two_turns(worker, 2)
    learned = worker.call("logprobs", batch=write(tmp_path / "fresh.jsonl", [fresh]))["rows"][0]["logprobs"]
    assert learned == pytest.approx([value for turn in fresh["turns"] for value in turn["logprobs"]], abs=1e-3)
    assert worker.call("logprobs", batch=batch)["rows"] != before


def test_wrong_calls_are_answered_with_what_is_wanted(start: Any, tmp_path: pathlib.Path) -> None:
    worker = start()
    assert worker.call("init", model=str(tmp_path / "none"), cache_dir=CACHE)["code"] == "MODEL_NOT_FOUND"
    assert worker.call("init", cache_dir=CACHE) == {
        "code": "PARAMS_INVALID", "message": "model is None; text is wanted.", "hint": ""}
    assert worker.call("train_step", step=1, batch="x")["code"] == "NOT_INITIALISED"
    assert worker.call("init", **INIT)["step"] == 0
    assert worker.call("init", **INIT)["code"] == "ALREADY_INITIALISED"
    assert worker.call("publish", version=1)["code"] == "NOT_SERVING"
    assert worker.call("serve", token=TOKEN, host="0.0.0.0")["code"] == "NOT_LOOPBACK"
    assert worker.call("serve", token="")["code"] == "PARAMS_INVALID"
    assert worker.call("train_step", step="1", batch="x")["message"] == "step is '1'; a whole number is wanted."
    assert worker.call("train_step", step=1, batch=str(tmp_path / "no.jsonl"))["code"] == "BATCH_INVALID"


def test_end_of_input_ends_the_worker(start: Any) -> None:
    worker = start()
    assert worker.call("hello")["protocol"] == 1
    worker.child.stdin.close()
    assert worker.child.wait(20) == 0
