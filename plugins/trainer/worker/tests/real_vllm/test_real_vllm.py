"""The worker with real vLLM behind its endpoint: two servers, chains, adapters, and the loss of servers.

Runs in the Lightning environment; HONE_VLLM_PYTHON is the Python of vLLM's. The tests share the servers, whose start
takes minutes on a CPU, and come in the order of the file.
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import signal
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from hone_worker.vllm.http_client import Address, exchange
from hone_worker.vllm.vllm_api import VllmApi
from worker_process import INIT, SYSTEM, TOKEN, Process, rollout, write

ROLLOUTS, TURNS = 8, 3
USER = {"role": "user", "content": "Say hello to Bob."}


class Served(Process):
    """A worker that serves by two servers of vLLM; versions are numbered as they are made."""

    def start(self) -> dict[str, Any]:
        self.call("init", **{**INIT, "optimizer": {"learning_rate": 0.02}})
        python = os.environ["HONE_VLLM_PYTHON"]
        served = self.call("serve", token=TOKEN, max_staleness=1, vllm={"python": python, "replicas": 2})
        assert "base_url" in served, served
        self.url = served["base_url"]
        self.version = 0
        return served["vllm"]

    def servers(self) -> dict[int, VllmApi]:
        """The servers that run, by the process to kill."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_text().split("\0")
                group = os.getpgid(int(entry.name))
            except (OSError, ValueError):
                continue
            if "--uds" in words and group == int(entry.name):
                found[group] = VllmApi(Address.of_socket(words[words.index("--uds") + 1]))
        return found

    def adapters(self) -> list[list[str]]:
        """The names of what each server has besides the base model."""

        async def of(api: VllmApi) -> list[str]:
            cards = (await api._call("GET", "/v1/models"))["data"]
            return [card["id"] for card in cards if card.get("parent")]

        return [asyncio.run(of(api)) for api in self.servers().values()]


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    os.environ["VLLM_CPU_KVCACHE_SPACE"] = "1"
    made = Served(tmp_path_factory.mktemp("worker"))
    try:
        facts = made.start()
        assert facts["replicas"] == 2 and not facts["shares_gpu"] and facts["mismatch_abs"] < 1e-3
        yield made
        made.call("shutdown")
    finally:
        made.end()


def rollouts(worker: Served, path: pathlib.Path) -> tuple[str, list[dict[str, Any]]]:
    with ThreadPoolExecutor(ROLLOUTS) as pool:
        lines = list(pool.map(
            lambda index: rollout(worker, index, TURNS, worker.version, max_tokens=24), range(ROLLOUTS)))
    return write(path, lines), lines


def greedy(worker: Served) -> list[int]:
    return worker.chat([SYSTEM, USER], temperature=0, max_tokens=24)["choices"][0]["token_ids"]


def test_chains_are_one_row_and_their_logprobs_are_the_trainers(worker: Served, tmp_path: pathlib.Path) -> None:
    base = greedy(worker)
    for version in (1, 2):
        batch, lines = rollouts(worker, tmp_path / f"{version}.jsonl")
        step = worker.call("train_step", step=version, batch=batch, loss={"preset": "cispo"})
        assert (step["rows"], step["forks"]) == (ROLLOUTS, 0)
        assert step["tokens"] == sum(len(turn["output_ids"]) for line in lines for turn in line["turns"])
        assert step["mismatch_abs"] < 1e-3 and step["mismatch_max"] < 0.05 and step["grad_norm"] > 0
        assert worker.call("publish", version=version) == {"version": version, "model": f"policy-{version:06d}"}
        worker.version = version
        # A name that was never used before, on both servers; the one before is unloaded.
        assert [[name[:14] for name in names] for names in worker.adapters()] == [[f"policy-{version:06d}-"]] * 2
    assert greedy(worker) != base
    # What an adapter changes, both compute alike.
    batch, lines = rollouts(worker, tmp_path / "trained.jsonl")
    again = worker.call("logprobs", batch=batch)["rows"]
    for line, row in zip(lines, again, strict=True):
        said = [value for turn in line["turns"] for value in turn["logprobs"]]
        assert row["logprobs"] == pytest.approx(said, abs=1e-2)
    worker.call("publish", version=0)
    assert worker.adapters() == [[], []] and greedy(worker) == base


def test_stop_texts_and_end_tokens_end_an_answer_and_belong_to_its_ids(worker: Served) -> None:
    whole = worker.chat([SYSTEM, USER], temperature=0, max_tokens=60)["choices"][0]
    text = whole["message"]["content"]
    word = text.split()[2]
    cut = worker.chat([SYSTEM, USER], temperature=0, max_tokens=60, stop=[word])["choices"][0]
    assert cut["finish_reason"] == "stop" and cut["message"]["content"] == text.split(word, 1)[0]
    assert cut["token_ids"] == whole["token_ids"][: len(cut["token_ids"])]


def test_rollouts_go_on_with_the_other_server_and_the_last_one_is_missed(worker: Served) -> None:
    apis = worker.servers()
    servers, api = list(apis), next(iter(apis.values()))
    assert len(servers) == 2
    with ThreadPoolExecutor(ROLLOUTS) as pool:
        long = [pool.submit(worker.chat, [SYSTEM, USER], rollout=f"k{index}", seed=index, max_tokens=200)
                for index in range(ROLLOUTS)]
        until(lambda: running(api) > 0)
        os.killpg(servers[0], signal.SIGKILL)
        assert all(reply.result()["choices"] for reply in long)
    assert list(worker.servers()) == servers[1:]
    worker.version = 3
    assert worker.call("publish", version=3)["version"] == 3
    (lost,) = [event for event in worker.events if event.get("code") == "VLLM_LOST"]
    assert "ended with exit code 137" in lost["message"]
    assert lost["message"].endswith("Its rollouts go on with the 1 that are left.")

    os.kill(servers[1], signal.SIGKILL)  # its engine is another process: it must go too
    with pytest.raises(urllib.error.HTTPError) as caught:
        worker.chat([SYSTEM, USER])
    assert json.loads(caught.value.read())["error"]["message"].startswith("No vLLM server is left. vLLM server ")
    assert worker.call("publish", version=4)["code"] == "VLLM_LOST"
    until(lambda: not left_of(servers[1]))


def running(api: VllmApi) -> float:
    """How many requests a server is answering, by its own count."""
    text = asyncio.run(exchange(api.address, "GET", "/metrics", {}))[1].decode()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("vllm:num_requests_running{"))


def left_of(group: int) -> list[str]:
    """The processes of a group that have not ended."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            state, _, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(its_group) == group and state != "Z":
            found.append(entry.name)
    return found


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
