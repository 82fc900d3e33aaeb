"""Rollouts by vLLM's interface, over stand-in servers that check each request: sampler, replicas, start-up checks."""

from __future__ import annotations

import json
import pathlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import vllm_standin
from builders import write_tokenizer
from hone_worker.chat_template import ChatTemplate
from hone_worker.checkpoint import TrainState, write_peft
from hone_worker.config import LoraConfig, OptimConfig
from hone_worker.endpoint.chat_service import ChatService
from hone_worker.endpoint.http_server import HttpError
from hone_worker.errors import WorkerError
from hone_worker.loading.model_files import ModelFiles, open_model
from hone_worker.lora import create
from hone_worker.optimizer import AdamW
from hone_worker.vllm import server_checks
from hone_worker.vllm.open_rollouts import Opened, Trained, open_rollouts
from hone_worker.vllm.vllm_config import VllmConfig
from hone_worker.vllm.vllm_sampler import VllmSampler
from vllm_standin import StandIn

SYSTEM, USER = {"role": "system", "content": "answer"}, {"role": "user", "content": "go on"}
LINEARS = {"model.layers.0.self_attn.q_proj": (8, 8), "model.layers.0.mlp.up_proj": (8, 12)}


@dataclass
class Rollouts:
    """Stand-in servers, and what the worker makes to use them."""

    folder: pathlib.Path
    files: ModelFiles
    state: TrainState
    servers: list[StandIn] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    opened: Opened | None = None

    @property
    def sampler(self) -> VllmSampler:
        assert self.opened is not None
        return self.opened.sampler

    def start(self, count: int = 1, **options: Any) -> list[StandIn]:
        self.servers += [StandIn(**options) for _ in range(count)]
        return self.servers

    def trained(self) -> Trained:
        template = self.template()
        return Trained(
            folder=lambda: self.folder,
            context_tokens=self.files.context_tokens,
            eos_ids=self.files.eos_token_ids,
            decode=self.files.decode,
            prompt=template.encode(template.text([USER])),
            rank=self.state.adapter.config.rank,
            params=self.state.adapter.params,
            write=lambda params, folder: write_peft(
                replace(self.state, adapter=replace(self.state.adapter, params=dict(params))), folder),
            reference=lambda prompt, ids: vllm_standin.logprobs([*prompt[-1:], *ids]),
        )

    def open(self, max_staleness: int = 0, **config: Any) -> ChatService:
        made = VllmConfig.from_json({"urls": [server.url for server in self.servers], **config})
        self.opened = open_rollouts(
            made, self.trained(), max_staleness, say=lambda _: None,
            warn=lambda code, message: self.warnings.append((code, message)))
        for server in self.servers:
            server.requests.clear()
        return ChatService(self.template(), self.sampler, self.files.context_tokens)

    def template(self) -> ChatTemplate:
        files = self.files
        return ChatTemplate(files.chat_template, files.encode, files.decode, files.eos_token_ids)

    def params(self, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        return {name: rng.standard_normal(v.shape).astype(np.float32) for name, v in self.state.adapter.params.items()}

    def refusal(self, **config: Any) -> tuple[str, str, str]:
        with pytest.raises(WorkerError) as caught:
            self.open(**config)
        return caught.value.code, caught.value.message, caught.value.hint


@pytest.fixture
def rollouts(tmp_path: pathlib.Path) -> Iterator[Rollouts]:
    folder = write_tokenizer(tmp_path)
    shape = {"model_type": "llama", "eos_token_id": vllm_standin.EOS, "max_position_embeddings": 512}
    (folder / "config.json").write_text(json.dumps(shape))
    (folder / "model.safetensors").touch()
    adapter = create(LINEARS, 1, LoraConfig(rank=4, alpha=8), seed=0)
    made = Rollouts(folder, open_model(str(folder), folder), TrainState("base", adapter, AdamW(OptimConfig())))
    yield made
    if made.opened is not None:
        made.opened.sampler.close()
    for server in made.servers:
        server.close()


def ask(service: ChatService, messages: list[dict[str, str]], **options: Any) -> Future[dict[str, Any]]:
    body = {"messages": messages, "max_tokens": 12, "seed": 1, "logprobs": True, "return_token_ids": True}
    return service.chat({**body, **options})


def ids_of(reply: dict[str, Any]) -> list[int]:
    return reply["choices"][0]["token_ids"]


def said(reply: dict[str, Any]) -> list[float]:
    return [item["logprob"] for item in reply["choices"][0]["logprobs"]["content"]]


def test_each_turn_hands_vllm_the_ids_so_far_and_takes_ids_and_logprobs(rollouts: Rollouts) -> None:
    (server,) = rollouts.start()
    service = rollouts.open()
    held: list[int] = []
    messages = [SYSTEM, USER]
    for turn in range(3):
        reply = ask(service, messages, rollout="r", seed=turn, temperature=0.7, top_p=0.9, stop=["x9"]).result(20)
        prompt, ids = reply["prompt_token_ids"], ids_of(reply)
        assert prompt[: len(held)] == held
        assert server.bodies("/v1/completions")[turn] == {
            "model": "base-model", "prompt": prompt, "max_tokens": 12, "seed": turn, "temperature": 0.7, "top_p": 0.9,
            "stop": ["x9"], "stop_token_ids": [1], "logprobs": 0, "return_token_ids": True, "n": 1, "stream": False,
            "top_k": 0, "min_p": 0.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "repetition_penalty": 1.0,
            "add_special_tokens": False, "skip_special_tokens": False, "spaces_between_special_tokens": False}
        expected = vllm_standin.logprobs(prompt + ids, "", 0.7)[len(prompt) - 1 :]
        np.testing.assert_allclose(said(reply), expected, atol=1e-9)
        ended = ids[-1] == vllm_standin.EOS
        assert reply["choices"][0]["finish_reason"] == ("stop" if ended else "length")
        assert reply["choices"][0]["message"]["content"] == rollouts.files.decode(ids[:-1] if ended else ids)
        held = prompt + ids
        messages = [*messages, reply["choices"][0]["message"], USER]
    assert service.release({"rollout": "r"}) == {"released": True}
    assert service.release({"rollout": "r"}) == {"released": False}


def test_a_version_is_an_adapter_of_a_new_name_on_every_replica_and_the_old_one_goes(rollouts: Rollouts) -> None:
    servers = rollouts.start(2)
    service = rollouts.open()
    answers, names = [ids_of(ask(service, [USER]).result(20))], []
    # 1 is published once more, with other weights, as an evaluation of an earlier checkpoint does.
    for version, seed in ((1, 1), (2, 2), (1, 3)):
        rollouts.sampler.publish(version, rollouts.params(seed))
        assert service.models() == [f"policy-{version:06d}"]
        reply = ask(service, [USER], model=f"policy-{version:06d}").result(20)
        assert reply["policy_version"] == version
        answers.append(ids_of(reply))
        assert [list(server.adapters) for server in servers] == [list(servers[0].adapters)] * 2
        names += list(servers[0].adapters)
    assert len(set(map(tuple, answers))) == 4 and len(set(names)) == len(names) == 3
    assert all(name.startswith(f"policy-{version:06d}-") for name, version in zip(names, (1, 2, 1), strict=True))
    rollouts.sampler.publish(0, None)
    assert ids_of(ask(service, [USER]).result(20)) == answers[0]
    assert [server.adapters for server in servers] == [{}, {}]
    left = rollouts.sampler._folder
    rollouts.sampler.close()
    assert not left.exists()


def test_a_request_under_way_keeps_its_weights_and_they_stay_loaded_until_it_ends(rollouts: Rollouts) -> None:
    (server,) = rollouts.start()
    service = rollouts.open(max_staleness=1)
    rollouts.sampler.publish(1, rollouts.params(1))
    (old,) = server.adapters
    weights = server.adapters[old]
    server.hold.clear()
    early = ask(service, [USER], model="policy-000001")
    server.wait_for(lambda: server.waiting == 1)
    rollouts.sampler.publish(2, rollouts.params(2))
    assert len(server.adapters) == 2 and service.models() == ["policy-000002", "policy-000001"]
    late = ask(service, [USER], model="policy-000001")
    server.wait_for(lambda: server.waiting == 2)
    server.hold.set()
    first, second = early.result(20), late.result(20)
    assert (first["policy_version"], second["policy_version"]) == (1, 2)
    prompt = first["prompt_token_ids"]
    expected = vllm_standin.logprobs(prompt + ids_of(first), weights)[len(prompt) - 1 :]
    np.testing.assert_allclose(said(first), expected, atol=1e-9)
    server.wait_for(lambda: old not in server.adapters)
    with pytest.raises(HttpError) as caught:
        ask(service, [USER], model="policy-000000")
    assert caught.value.status == 404


def test_where_the_gpu_is_shared_servers_sleep_while_a_step_runs(rollouts: Rollouts) -> None:
    (server,) = rollouts.start()
    service = rollouts.open()
    rollouts.sampler._shares_gpu = True
    freed: list[bool] = []
    rollouts.sampler._free = lambda: freed.append(server.asleep)
    server.hold.clear()
    early = ask(service, [USER])
    server.wait_for(lambda: server.waiting == 1)
    inside, leave = threading.Event(), threading.Event()

    def step() -> None:
        with rollouts.sampler.paused(), rollouts.sampler.paused():
            inside.set()
            leave.wait(20)

    stepping = threading.Thread(target=step)
    stepping.start()
    assert not server.bodies("/sleep")  # the open request ends first
    server.hold.set()
    assert early.result(20)["choices"] and inside.wait(20) and server.asleep
    late = ask(service, [USER])
    leave.set()
    assert late.result(20)["choices"] and not server.asleep
    stepping.join()
    assert freed == [True, True]  # before the servers wake
    assert len(server.bodies("/sleep")) == len(server.bodies("/wake_up")) == 1


def test_without_a_shared_gpu_servers_sample_on_while_a_step_runs(rollouts: Rollouts) -> None:
    (server,) = rollouts.start()
    service = rollouts.open()
    with rollouts.sampler.paused():
        assert ask(service, [USER]).result(20)["choices"]
    assert not server.bodies("/sleep")


def test_a_rollout_stays_with_its_replica_and_moves_when_that_is_lost(rollouts: Rollouts) -> None:
    first, second = rollouts.start(2)
    service = rollouts.open()
    first.hold.clear()
    second.hold.clear()
    open_ones = {name: ask(service, [USER], rollout=name) for name in "abcd"}
    for server in (first, second):
        server.wait_for(lambda server=server: server.waiting == 2)
        server.hold.set()
    replies = {name: reply.result(20) for name, reply in open_ones.items()}
    prompts = {name: [USER, reply["choices"][0]["message"], USER] for name, reply in replies.items()}
    for name, messages in prompts.items():
        ask(service, messages, rollout=name).result(20)
    # Each server saw both turns of its two rollouts.
    assert [len(server.bodies("/v1/completions")) for server in (first, second)] == [4, 4]

    first.hold.clear()
    second.hold.clear()
    late = [ask(service, messages, rollout=f"{name}2") for name, messages in prompts.items()]
    first.wait_for(lambda: first.waiting == 2)
    first.close()
    second.hold.set()
    assert all(reply.result(20)["choices"] for reply in late)
    ((code, message),) = rollouts.warnings
    assert code == "VLLM_LOST" and message.startswith(f"vLLM at {first.url[:-3]} does not answer: ")
    assert message.endswith("\nIts rollouts go on with the 1 that are left.")
    rollouts.sampler.publish(1, rollouts.params(1))
    assert len(second.adapters) == 1

    second.close()
    with pytest.raises(HttpError) as caught:
        ask(service, [USER]).result(20)
    assert caught.value.message.startswith(f"No vLLM server is left. vLLM at {second.url[:-3]} does not answer: ")
    with pytest.raises(WorkerError) as lost:
        rollouts.sampler.publish(2, rollouts.params(2))
    assert (lost.value.code, lost.value.hint) == ("VLLM_LOST", "Resume the run.")


def test_a_client_that_goes_away_ends_its_request(rollouts: Rollouts) -> None:
    (server,) = rollouts.start()
    service = rollouts.open()
    server.hold.clear()
    pending = ask(service, [USER], rollout="r")
    server.wait_for(lambda: server.waiting == 1)
    pending.cancel()
    server.wait_for(lambda: server.gone == 1)
    server.hold.set()
    assert ask(service, [USER], rollout="r").result(20)["choices"]


def test_what_vllm_refuses_is_told_in_its_words(rollouts: Rollouts) -> None:
    (server,) = rollouts.start()
    service = rollouts.open()
    server.max_model_len = 8
    with pytest.raises(HttpError) as caught:
        ask(service, [USER]).result(20)
    place = server.url[:-3]
    assert caught.value.message == (
        f"vLLM at {place} refused a request: This model's maximum context length is 8 tokens.")
    server.max_rank = 1
    with pytest.raises(WorkerError) as failed:
        rollouts.sampler.publish(1, rollouts.params(1))
    assert (failed.value.code, failed.value.message) == (
        "PUBLISH_FAILED", "vLLM refused version 1: LoRA rank 4 is greater than max_lora_rank 1.")
    assert service.models() == ["policy-000000"] and not rollouts.warnings


def test_the_key_is_sent_and_adapters_lie_where_all_can_read_them(rollouts: Rollouts, tmp_path: pathlib.Path) -> None:
    (server,) = rollouts.start(key="k3y")
    rollouts.open(api_key="k3y", adapter_dir=str(tmp_path / "shared"))
    rollouts.sampler.publish(1, rollouts.params(1))
    (loaded,) = server.bodies("/v1/load_lora_adapter")
    assert loaded["lora_path"].startswith(str(tmp_path / "shared")) and len(server.adapters) == 1
    assert (tmp_path / "shared").stat().st_mode & 0o055 == 0o055
    rollouts.sampler.close()
    assert not server.adapters and not list((tmp_path / "shared").iterdir())


FLAGS = "--enable-lora --max-lora-rank 8"
AT_RUN_TIME = f"Start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True and {FLAGS}."


@pytest.mark.parametrize(("options", "code", "problem", "hint"), [
    ({"max_model_len": 100}, "VLLM_CONTEXT", "{} serves 100 tokens; the run's context has 512.",
     "Start it with --max-model-len 512, or set context_tokens: 100."),
    ({"version": "0.31.2"}, "VLLM_VERSION", "The vLLM of {} is 0.31.2; 0.32 or newer is wanted.",
     "Start it with vLLM 0.33."),
    ({"lora": False}, "VLLM_ADAPTERS", "{} does not take adapters while it runs.", AT_RUN_TIME),
    ({"raw": True}, "VLLM_LOGPROBS", "{} returns log-probabilities before the temperature is applied.",
     "Start it with --logprobs-mode processed_logprobs."),
    ({"key": "k"}, "VLLM_UNREACHABLE", "{} does not accept the key.", "Give the key that it was started with."),
])
def test_a_server_that_cannot_be_used_is_refused_at_the_start(
    rollouts: Rollouts, options: dict[str, Any], code: str, problem: str, hint: str, tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (server,) = rollouts.start(**options)
    place = f"vLLM at {server.url[:-3]}"
    assert rollouts.refusal() == (code, problem.format(place), hint)
    assert not list(tmp_path.glob("hone-vllm-*"))


def test_a_server_without_room_for_the_rank_or_with_another_model_is_refused(rollouts: Rollouts) -> None:
    (server,) = rollouts.start(max_rank=2)
    code, message, hint = rollouts.refusal()
    assert (code, message) == ("VLLM_ADAPTERS", (
        f"vLLM at {server.url[:-3]} refused an adapter of this run: LoRA rank 4 is greater than max_lora_rank 2."))
    assert hint.startswith(f"Start it with {FLAGS}; it must be able to read ")
    server.max_rank, server.other_model = 512, True
    code, message, hint = rollouts.refusal()
    assert code == "VLLM_OTHER_MODEL" and hint == "Serve the same model, in the same precision."
    assert message.startswith(f"vLLM at {server.url[:-3]} does not serve the model that is trained: log-probabilities ")


def test_servers_with_less_room_than_the_context_are_not_even_started(rollouts: Rollouts) -> None:
    assert rollouts.refusal(urls=[], python="/no/python", max_model_len=100) == (
        "VLLM_CONTEXT", "max_model_len is 100; the run's context has 512 tokens.",
        "Set context_tokens: 100, or raise max_model_len.")


def test_a_server_that_is_not_there_is_named(rollouts: Rollouts) -> None:
    (server,) = rollouts.start()
    server.close()
    code, message, hint = rollouts.refusal()
    assert code == "VLLM_UNREACHABLE" and hint == "Start it, or correct its URL."
    assert message.startswith(f"Cannot reach vLLM at {server.url[:-3]}: ConnectionRefusedError: ")


def test_a_server_that_says_nothing_is_given_up(
    rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_checks, "_ANSWER_SECS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        place = f"http://127.0.0.1:{mute.getsockname()[1]}"
        assert rollouts.refusal(urls=[place]) == (
            "VLLM_UNREACHABLE", f"Cannot reach vLLM at {place}: no answer within 0 s.", "Start it, or correct its URL.")
