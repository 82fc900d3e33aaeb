"""The whole process with the real small model: chat, train, publish, save, die, resume."""

from __future__ import annotations

import os
import pathlib
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from worker_process import CACHE, INIT, SYSTEM, TOKEN, Process, rollout, write


def greedy(worker: Process) -> list[int]:
    return worker.chat([SYSTEM, {"role": "user", "content": "List all."}], temperature=0)["choices"][0]["token_ids"]


def test_the_worker_samples_trains_publishes_and_resumes(start: Any, tmp_path: pathlib.Path) -> None:
    worker = start()
    hello = worker.call("hello")
    assert (hello["protocol"], hello["engines"], hello["device"]) == (1, ["cpu_llama", "mlx"], "cpu")
    assert worker.call("render", messages=[SYSTEM])["code"] == "NOT_INITIALISED"
    made = worker.open()
    assert made["step"] == 0 and made["model"]["architecture"] == "llama" and made["model"]["engine"] == "cpu_llama"
    assert not made["model"]["renders_tools"] and made["model"]["eos_token_ids"] == [2]

    with ThreadPoolExecutor(8) as pool:
        rollouts = list(pool.map(lambda index: rollout(worker, index), range(8)))
    again = rollout(worker, 3)
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
    assert made["model"]["engine"] == "mlx" and made["model"]["architecture"] == "qwen3"
    with ThreadPoolExecutor(4) as pool:
        rollouts = list(pool.map(lambda index: rollout(worker, index), range(4)))
    batch = write(tmp_path / "batch.jsonl", rollouts)
    before = worker.call("logprobs", batch=batch)["rows"]
    step = worker.call("train_step", step=1, batch=batch, loss={"preset": "cispo"}, learning_rate=0.05)
    assert step["mismatch_abs"] < 1e-3 and step["grad_norm"] > 0
    # Until it is published, the endpoint samples from the old policy.
    same = rollout(worker, 2)["turns"]
    assert [turn["output_ids"] for turn in same] == [turn["output_ids"] for turn in rollouts[2]["turns"]]
    worker.call("publish", version=1)
    fresh = rollout(worker, 2)
    learned = worker.call("logprobs", batch=write(tmp_path / "fresh.jsonl", [fresh]))["rows"][0]["logprobs"]
    assert learned == pytest.approx([value for turn in fresh["turns"] for value in turn["logprobs"]], abs=1e-3)
    assert worker.call("logprobs", batch=batch)["rows"] != before


def test_requests_wait_while_a_step_runs_and_rollouts_go_on_after_it(
    start: Any, tmp_path: pathlib.Path, llama_folder: pathlib.Path
) -> None:
    worker = start()
    worker.open(model=str(llama_folder), context_tokens=512, max_staleness=1)
    batch = write(tmp_path / "batch.jsonl", [rollout(worker, index) for index in range(4)])
    stop, names = threading.Event(), [f"r{index}" for index in range(6)]
    spoken: dict[str, list[tuple[str, int]]] = {name: [] for name in names}

    def rollouts(name: str) -> None:
        """One rollout after another; each goes on naming the policy that it began with."""
        number = 0
        while not stop.is_set():
            begun, messages = None, [SYSTEM, {"role": "user", "content": name}]
            for _ in range(3):
                handle = f"{name}-{number}"
                reply = worker.chat(messages, rollout=handle, max_tokens=12, **({"model": begun} if begun else {}))
                begun = begun or reply["model"]
                spoken[name].append((begun, reply["policy_version"]))
                messages = [*messages, reply["choices"][0]["message"], {"role": "user", "content": "go on"}]
            number += 1

    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(rollouts, name) for name in names]
        try:
            for version in range(1, 6):
                step = worker.call("train_step", step=version, batch=batch, learning_rate=0.005)
                assert step["grad_norm"] > 0
                # The batch was sampled by version 0, and is older at every step.
                assert step[f"mismatch_abs_{version - 1}"] == step["mismatch_abs"]
                assert worker.call("publish", version=version) == {
                    "version": version, "model": f"policy-{version:06d}"}
                # Until every rollout that was under way has ended: it may be one version late, not two.
                seen = {name: len(spoken[name]) for name in names}
                while min(len(spoken[name]) - seen[name] for name in names) < 3:
                    assert not any(one.done() for one in running)
                    threading.Event().wait(0.01)
        finally:
            stop.set()
        for one in running:
            one.result(60)  # none was refused, none hung
    assert not any(event.get("code") == "OFF_POLICY" for event in worker.events)
    turns = [turn for name in names for turn in spoken[name]]
    assert {version - int(begun.removeprefix("policy-")) for begun, version in turns} == {0, 1}
    assert {version for _, version in turns} >= {1, 2, 3, 4, 5}


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
    assert worker.call("serve", token=TOKEN, max_staleness=-1)["message"] == "max_staleness is -1; it is 0 or more."
    assert worker.call("train_step", step="1", batch="x")["message"] == "step is '1'; a whole number is wanted."
    assert worker.call("train_step", step=1, batch=str(tmp_path / "no.jsonl"))["code"] == "BATCH_INVALID"


@pytest.mark.parametrize("left_over", [{"RANK": "1"}, {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "1"}])
def test_ranks_are_those_of_a_launcher_that_started_several(
    left_over: dict[str, str], start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in left_over.items():
        monkeypatch.setenv(name, value)
    assert start().call("hello")["protocol"] == 1


def test_end_of_input_ends_the_worker(start: Any) -> None:
    worker = start()
    assert worker.call("hello")["protocol"] == 1
    worker.child.stdin.close()
    assert worker.child.wait(20) == 0
