"""The worker's whole way over HTTP with the torch engine: chat by the families' templates, train, publish, chat."""

from __future__ import annotations

import os
import pathlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hone_worker.errors import WorkerError
from hone_worker.lightning import fit_loop, telemetry
from hone_worker.protocol import Channel
from hone_worker.worker import Worker
from worker_process import SYSTEM, Process, rollout, write

TINY = {"context_tokens": 1024, "lora": {"rank": 4, "alpha": 8, "last_layers": 2}}


class InProcess(Process):
    """A worker in this process, which has loaded torch already."""

    def __init__(self) -> None:
        self.worker = Worker(Channel(*(os.open(os.devnull, flag) for flag in (os.O_RDONLY, os.O_WRONLY))))

    def call(self, method: str, **params: Any) -> dict:
        try:
            return self.worker.methods()[method](params)
        except WorkerError as error:
            return {"code": error.code, "message": error.message}

    def end(self) -> None:
        self.worker.close()


@pytest.fixture
def worker() -> Iterator[InProcess]:
    made = InProcess()
    yield made
    made.end()


@pytest.mark.parametrize("name", ["qwen3", "llama", "phi3"])
def test_what_was_sampled_is_trained_published_and_sampled_again(
    worker: InProcess, tmp_path: pathlib.Path, chat_folders: dict[str, pathlib.Path], name: str
) -> None:
    made = worker.open(model=str(chat_folders[name]), **TINY)["model"]
    assert (made["engine"], made["architecture"], made["eos_token_ids"]) == ("lightning", name, [256])
    assert (made["renders_tools"], made["tool_format"]) == ((True, "hermes") if name == "qwen3" else (False, None))
    with ThreadPoolExecutor(6) as pool:
        rollouts = list(pool.map(lambda index: rollout(worker, index), range(6)))
    batch = write(tmp_path / "batch.jsonl", rollouts)
    step = worker.call("train_step", step=1, batch=batch, loss={"preset": "cispo"}, learning_rate=0.05)
    assert step["mismatch_abs"] < 1e-5 and step["mismatch_max"] < 1e-3
    assert step["tokens"] == sum(len(turn["output_ids"]) for line in rollouts for turn in line["turns"])
    assert step["forks"] == 0 and step["grad_norm"] > 0 and step["physical_tokens"] < step["logical_tokens"]
    # Until it is published, the endpoint samples from the old policy.
    again = rollout(worker, 2)["turns"]
    for now, before in zip(again, rollouts[2]["turns"], strict=True):
        assert now["output_ids"] == before["output_ids"]
        assert now["logprobs"] == pytest.approx(before["logprobs"], abs=1e-4)

    assert worker.call("publish", version=1) == {"version": 1, "model": "policy-000001"}
    after = rollout(worker, 2)
    assert after["turns"][0]["prompt_suffix_ids"] == again[0]["prompt_suffix_ids"]
    assert after["turns"][0]["logprobs"][0] != pytest.approx(again[0]["logprobs"][0], abs=1e-4)
    line = {**after, "policy_version": 1}
    found = worker.call("logprobs", batch=write(tmp_path / "after.jsonl", [line]))["rows"][0]["logprobs"]
    said = [logprob for turn in after["turns"] for logprob in turn["logprobs"]]
    assert found == pytest.approx(said, abs=1e-4)
    worker.call("publish", version=0)
    base = rollout(worker, 2)["turns"]
    assert base[0]["logprobs"] == pytest.approx(again[0]["logprobs"], abs=1e-4)


def test_the_end_of_the_worker_ends_training_and_its_loggers(
    worker: InProcess, tmp_path: pathlib.Path, chat_folders: dict[str, pathlib.Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in (fit_loop, telemetry):
        monkeypatch.setattr(part, "_CLOSE_SECS", 300.0)
    options = {"log_dir": str(tmp_path / "logs"), "loggers": [{"name": "tensorboard"}]}
    worker.open(model=str(chat_folders["qwen3"]), engine_options=options, **TINY)
    before = set(threading.enumerate())
    worker.call("supervise", step=1, batch=write(tmp_path / "batch.jsonl", [rollout(worker, 0)]))
    started = {t.name: t for t in set(threading.enumerate()) - before if t.name in ("lightning", "loggers")}
    assert sorted(started) == ["lightning", "loggers"]
    worker.end()
    assert not any(thread.is_alive() for thread in started.values())
    assert (tmp_path / "logs" / "csv" / "version_0" / "metrics.csv").read_text().count("\n") == 2


def test_a_worker_process_samples_by_qwens_template_and_answers_of_tools_extend_the_chain(
    start: Any, chat_folders: dict[str, pathlib.Path]
) -> None:
    worker = start()
    worker.open(model=str(chat_folders["qwen3"]), **TINY)
    tool = {"type": "function", "function": {"name": "list_files", "description": "d", "parameters": {}}}
    messages = [SYSTEM, {"role": "user", "content": "List all."}]
    first = worker.chat(messages, tools=[tool], rollout="r", seed=1)
    held = first["prompt_token_ids"] + first["choices"][0]["token_ids"]
    messages += [first["choices"][0]["message"], {"role": "tool", "content": "a.txt"}]
    second = worker.chat(messages, tools=[tool], rollout="r", seed=2)
    assert second["prompt_token_ids"][: len(held)] == held
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] == len(held) - 1
    text = worker.call("render", messages=messages[:2], tools=[tool])["text"]
    assert '"name": "list_files"' in text and text.endswith("<|im_start|>assistant\n")
