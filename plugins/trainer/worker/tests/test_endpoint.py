"""The endpoint over HTTP with tiny models: chains, seeds, errors, publishing, pausing."""

from __future__ import annotations

import http.client
import json
import pathlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import pytest

import builders
from hone_worker import lora
from hone_worker.chat_template import ChatTemplate
from hone_worker.config import LoraConfig
from hone_worker.cpu_llama import ops
from hone_worker.cpu_llama.weights import LlamaWeights
from hone_worker.endpoint.chat_service import ChatService
from hone_worker.endpoint.draw import _inverse
from hone_worker.endpoint.http_server import Endpoint
from hone_worker.endpoint.sampler import Sampler
from hone_worker.errors import WorkerError
from hone_worker.loading.model_files import ModelFiles

TOKEN = "secret"
USER = {"role": "user", "content": "hello there, what is up"}
SYSTEM = {"role": "system", "content": "you are a very small model and answer in short words"}


@dataclass
class Client:
    url: str
    loaded: ModelFiles
    weights: LlamaWeights
    sampler: Sampler
    adapter: lora.Adapter
    params: dict[str, np.ndarray]

    def request(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict]:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        sent = {"authorization": f"Bearer {TOKEN}", **(headers or {})}
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        answer = response.status, json.loads(response.read())
        connection.close()
        return answer

    def chat(self, messages: list[dict], **options: object) -> dict:
        body = {"messages": messages, "max_tokens": 12, "seed": 1, "logprobs": True, "return_token_ids": True}
        status, reply = self.request("POST", "/v1/chat/completions", {**body, **options})
        assert status == 200, reply
        return reply

    def logp(self, reply: dict, adapted: bool = False) -> np.ndarray:
        """Log-probabilities of a reply's tokens, by the plain pass of the base model or with ``params``."""
        prompt, ids = reply["prompt_token_ids"], reply["choices"][0]["token_ids"]
        weights = self.weights.merged(self.params if adapted else None, self.adapter.config.scale)
        logits = ops.logits(weights, np.array(prompt + ids))[len(prompt) - 1 : -1].astype(np.float64)
        return (logits - np.log(np.exp(logits).sum(1, keepdims=True)))[np.arange(len(ids)), ids]


def serve(folder: pathlib.Path, engine: str = "cpu_llama", max_staleness: int = 0) -> tuple[Client, Endpoint]:
    loaded, made = builders.opened(folder, engine)
    weights = builders.opened(folder, "cpu_llama")[1].weights
    adapter = lora.create(made.linears, made.layers, LoraConfig(rank=3, alpha=6), seed=0)
    made.adapt(adapter)
    rng = np.random.default_rng(1)
    params = {name: 0.1 * rng.standard_normal(v.shape).astype(np.float32) for name, v in adapter.params.items()}
    template = ChatTemplate(loaded.chat_template, loaded.encode, loaded.decode, loaded.eos_token_ids)
    sampler = Sampler(made.decoder(), loaded.decode, loaded.eos_token_ids, 8, max_staleness)
    endpoint = Endpoint(ChatService(template, sampler, loaded.context_tokens), TOKEN)
    return Client(endpoint.start(), loaded, weights, sampler, adapter, params), endpoint


@pytest.fixture(params=["cpu_llama", "mlx"])
def client(request: pytest.FixtureRequest, llama_folder: pathlib.Path) -> Iterator[Client]:
    made, endpoint = serve(llama_folder, request.param)
    yield made
    endpoint.close()


@pytest.fixture
def fast(llama_folder: pathlib.Path) -> Iterator[Client]:
    made, endpoint = serve(llama_folder)
    yield made
    endpoint.close()


def test_chat_returns_the_ids_and_logprobs_that_were_sampled(client: Client) -> None:
    reply = client.chat([SYSTEM, USER])
    choice = reply["choices"][0]
    said = [item["logprob"] for item in choice["logprobs"]["content"]]
    np.testing.assert_allclose(said, client.logp(reply), atol=1e-4)
    assert reply["prompt_token_ids"] == client.loaded.encode(
        f"<system>{SYSTEM['content']}</s><user>{USER['content']}</s><assistant>")
    assert reply["usage"]["completion_tokens"] == len(choice["token_ids"]) <= 12
    assert reply["model"] == "policy-000000" and reply["policy_version"] == 0
    ended = choice["token_ids"][-1] in client.loaded.eos_token_ids
    assert choice["finish_reason"] == ("stop" if ended else "length")
    text_ids = choice["token_ids"][:-1] if ended else choice["token_ids"]
    assert choice["message"] == {"role": "assistant", "content": client.loaded.decode(text_ids)}


def test_a_rollout_extends_its_ids_and_reuses_its_row(client: Client) -> None:
    messages, held = [SYSTEM, USER], []
    for turn in range(3):
        reply = client.chat(messages, rollout="r1", seed=turn)
        assert reply["prompt_token_ids"][: len(held)] == held
        choice = reply["choices"][0]
        np.testing.assert_allclose(
            [item["logprob"] for item in choice["logprobs"]["content"]], client.logp(reply), atol=1e-4)
        assert turn == 0 or reply["usage"]["prompt_tokens_details"]["cached_tokens"] == len(held) - 1
        held = reply["prompt_token_ids"] + choice["token_ids"]
        messages = [*messages, choice["message"], {"role": "tool", "content": f"result {turn}"}]
    assert client.request("POST", "/v1/rollouts/release", {"rollout": "r1"}) == (200, {"released": True})
    assert client.request("POST", "/v1/rollouts/release", {"rollout": "r1"}) == (200, {"released": False})


def test_a_rollout_that_no_longer_fits_is_answered_with_its_history_shortened(client: Client) -> None:
    said = client.chat([SYSTEM, USER], rollout="r1")["choices"][0]["message"]
    long, mark = ({"role": "tool", "content": text} for text in ("y" * 300, "[cut]"))
    again = client.chat([SYSTEM, USER, said, long], rollout="r1")["choices"][0]["message"]
    rest = [again, {"role": "tool", "content": "z" * 150}]
    status, refused = client.request(
        "POST", "/v1/chat/completions", {"messages": [SYSTEM, USER, said, long, *rest], "rollout": "r1"})
    assert (status, refused["error"]["code"]) == (400, "context_length_exceeded")
    shortened = [SYSTEM, USER, said, mark, *rest]
    reply = client.chat(shortened, rollout="r1", seed=3)
    assert reply["prompt_token_ids"] == client.chat(shortened, rollout="r2", seed=3)["prompt_token_ids"]
    logprobs = [item["logprob"] for item in reply["choices"][0]["logprobs"]["content"]]
    np.testing.assert_allclose(logprobs, client.logp(reply), atol=1e-4)


def test_a_rollout_forks_when_history_was_edited(fast: Client) -> None:
    first = fast.chat([SYSTEM, USER], rollout="r")
    edited = [SYSTEM, USER, {"role": "assistant", "content": "edited"}, USER]
    reply = fast.chat(edited, rollout="r")
    text = "".join(f"<{m['role']}>{m['content']}</s>" for m in edited) + "<assistant>"
    assert reply["prompt_token_ids"] == fast.loaded.encode(text)
    assert first["prompt_token_ids"] != reply["prompt_token_ids"]


def test_seeds_decide_the_tokens_alone_or_in_a_crowd(client: Client) -> None:
    alone = [client.chat([SYSTEM, USER], seed=seed)["choices"][0]["token_ids"] for seed in range(20)]
    with ThreadPoolExecutor(20) as pool:
        crowd = list(pool.map(lambda s: client.chat([SYSTEM, USER], seed=s)["choices"][0]["token_ids"], range(20)))
    assert crowd == alone
    assert len({tuple(ids) for ids in alone}) > 10


def test_greedy_takes_the_most_likely_token_with_its_logprob_at_temperature_one(client: Client) -> None:
    reply = client.chat([SYSTEM, USER], temperature=0)
    prompt, ids = reply["prompt_token_ids"], reply["choices"][0]["token_ids"]
    logits = ops.logits(client.weights, np.array(prompt + ids))[len(prompt) - 1 : -1]
    assert logits.argmax(1).tolist() == ids
    said = [item["logprob"] for item in reply["choices"][0]["logprobs"]["content"]]
    np.testing.assert_allclose(said, client.logp(reply), atol=1e-4)


def test_temperature_and_top_p_shape_the_reported_distribution(fast: Client) -> None:
    reply = fast.chat([SYSTEM, USER], temperature=0.5, top_p=0.6, max_tokens=30)
    prompt, ids = reply["prompt_token_ids"], reply["choices"][0]["token_ids"]
    logits = ops.logits(fast.weights, np.array(prompt + ids))[len(prompt) - 1 : -1].astype(np.float64) / 0.5
    share = np.exp(logits - logits.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    for place, (token, item) in enumerate(zip(ids, reply["choices"][0]["logprobs"]["content"], strict=True)):
        order = np.argsort(-share[place])
        kept = order[: int(np.searchsorted(np.cumsum(share[place][order]), 0.6)) + 1]
        assert token in kept
        assert item["logprob"] == pytest.approx(np.log(share[place, token] / share[place][kept].sum()), abs=1e-3)


def test_stop_ends_the_answer_before_the_stop_text(fast: Client) -> None:
    whole = fast.chat([SYSTEM, USER], max_tokens=30, seed=3)["choices"][0]
    stop = whole["message"]["content"][4:6]
    cut = fast.chat([SYSTEM, USER], max_tokens=30, seed=3, stop=[stop])["choices"][0]
    assert cut["message"]["content"] == whole["message"]["content"].split(stop)[0]
    assert cut["finish_reason"] == "stop"
    assert whole["token_ids"][: len(cut["token_ids"])] == cut["token_ids"]
    assert stop in fast.loaded.decode(cut["token_ids"])


def test_sampling_follows_the_distribution(rng: np.random.Generator) -> None:
    weights = np.zeros(512, np.float32)
    weights[[3, 200, 300, 511]] = [1, 2, 3, 4]
    blocks = weights.reshape(2, 256).sum(1).astype(np.float64)
    drawn = np.array([_inverse(weights, blocks, u * 10) for u in rng.random(20000)])
    found = [(drawn == index).mean() for index in (3, 200, 300, 511)]
    np.testing.assert_allclose(found, [0.1, 0.2, 0.3, 0.4], atol=0.02)
    assert _inverse(weights, blocks, 10.0) == 511 and _inverse(weights, blocks, 0.0) == 3


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "gpt-4"}, 404, "model_not_found"),
        ({"messages": []}, 400, "bad_request"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "bad_request"),
        ({"stream": True}, 400, "unsupported"),
        ({"temperature": -1}, 400, "bad_request"),
        ({"max_tokens": 0}, 400, "bad_request"),
        ({"seed": "x"}, 400, "bad_request"),
        ({"stop": [""]}, 400, "bad_request"),
        ({"rollout": 7}, 400, "bad_request"),
        ({"messages": [{"role": "user", "content": "x" * 600}]}, 400, "context_length_exceeded"),
    ],
)
def test_chat_refuses_what_it_cannot_answer(fast: Client, change: dict, status: int, code: str) -> None:
    got, reply = fast.request("POST", "/v1/chat/completions", {"messages": [USER], **change})
    assert (got, reply["error"]["code"]) == (status, code)
    assert reply["error"]["message"] and reply["error"]["type"] == "invalid_request_error"


def test_the_endpoint_checks_token_host_path_and_body(fast: Client) -> None:
    assert fast.request("GET", "/health")[0] == 200
    assert fast.request("GET", "/v1/models")[1]["data"][0]["id"] == "policy-000000"
    assert fast.request("GET", "/v1/models", headers={"authorization": "Bearer no"})[0] == 401
    assert fast.request("GET", "/v1/models", headers={"host": "evil.example"})[0] == 403
    assert fast.request("GET", "/nope")[0] == 404
    assert fast.request("GET", "/v1/chat/completions")[0] == 405
    connection = http.client.HTTPConnection(urlsplit(fast.url).netloc, timeout=10)
    for body in ("{", "[1]"):  # on one connection: it stays open after an error
        connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {TOKEN}"})
        response = connection.getresponse()
        assert response.status == 400 and json.loads(response.read())["error"]["code"] == "bad_request"
    connection.close()


def test_the_endpoint_refuses_other_addresses_than_loopback(fast: Client) -> None:
    with pytest.raises(WorkerError) as caught:
        Endpoint(ChatService.__new__(ChatService), TOKEN).start("0.0.0.0")
    assert caught.value.code == "NOT_LOOPBACK"


def test_paused_holds_open_requests_and_publish_waits_for_them(fast: Client) -> None:
    with ThreadPoolExecutor(4) as pool:
        with fast.sampler.paused():
            pending = [pool.submit(fast.chat, [SYSTEM, USER], seed=seed) for seed in range(3)]
            busy = threading.Event()
            assert not busy.wait(0.3) and not any(one.done() for one in pending)
        replies = [one.result(30) for one in pending]
        assert {reply["policy_version"] for reply in replies} == {0}
    fast.sampler.publish(4, None)
    assert fast.chat([SYSTEM, USER], model="policy-000004")["policy_version"] == 4
    assert fast.request("POST", "/v1/chat/completions", {"messages": [USER], "model": "policy-000000"})[0] == 404


def test_publish_ends_late_requests_for_the_old_policy(fast: Client) -> None:
    with ThreadPoolExecutor(4) as pool:
        early = pool.submit(fast.chat, [SYSTEM, USER], max_tokens=200, model="policy-000000")
        while not fast.sampler._active:
            threading.Event().wait(0.001)
        done = threading.Thread(target=fast.sampler.publish, args=(1, None))
        with fast.sampler.paused():
            done.start()
            while not fast.sampler._draining:
                threading.Event().wait(0.001)
            body = {"messages": [USER], "max_tokens": 4}
            late = pool.submit(fast.request, "POST", "/v1/chat/completions", {**body, "model": "policy-000000"})
            anyone = pool.submit(fast.request, "POST", "/v1/chat/completions", body)
            while len(fast.sampler._later) < 2:
                threading.Event().wait(0.001)
        assert early.result(30)["policy_version"] == 0
        assert (late.result(30)[0], late.result()[1]["error"]["code"]) == (409, "policy_replaced")
        assert anyone.result(30)[1]["policy_version"] == 1
        done.join()


def test_a_rollout_goes_on_with_newer_weights_within_the_staleness(llama_folder: pathlib.Path) -> None:
    made, endpoint = serve(llama_folder, max_staleness=1)
    def models() -> list[str]:
        return [model["id"] for model in made.request("GET", "/v1/models")[1]["data"]]

    assert models() == ["policy-000000"]
    first = made.chat([SYSTEM, USER], rollout="r", model="policy-000000")
    made.sampler.publish(1, made.params)
    assert models() == ["policy-000001", "policy-000000"]
    messages = [SYSTEM, USER, first["choices"][0]["message"], USER]
    second = made.chat(messages, rollout="r", model="policy-000000")
    assert (first["policy_version"], second["policy_version"], second["model"]) == (0, 1, "policy-000001")
    held = first["prompt_token_ids"] + first["choices"][0]["token_ids"]
    assert second["prompt_token_ids"][: len(held)] == held
    # Of the old weights nothing is left in what it says: not even in what it remembers of the first turn.
    assert second["usage"]["prompt_tokens_details"]["cached_tokens"] <= len(first["prompt_token_ids"])
    said = [item["logprob"] for item in second["choices"][0]["logprobs"]["content"]]
    np.testing.assert_allclose(said, made.logp(second, adapted=True), atol=1e-4)
    assert np.abs(np.array(said) - made.logp(second)).max() > 1e-2
    made.sampler.publish(2, None)
    assert models() == ["policy-000002", "policy-000001"]
    status, refused = made.request("POST", "/v1/chat/completions", {"messages": [USER], "model": "policy-000000"})
    assert (status, refused["error"]["code"]) == (404, "model_not_found")
    made.sampler.publish(0, None)  # a measurement of the base
    assert models() == ["policy-000000"]
    endpoint.close()


@pytest.mark.parametrize(("staleness", "answers"), [(0, [409]), (1, [200, 409]), (2, [200, 200])])
def test_requests_that_come_while_a_policy_is_published_are_answered_by_it_within_the_staleness(
    llama_folder: pathlib.Path, staleness: int, answers: list[int]
) -> None:
    made, endpoint = serve(llama_folder, max_staleness=staleness)
    made.sampler.publish(1, None)
    body = {"messages": [USER], "max_tokens": 4}
    with ThreadPoolExecutor(4) as pool:
        early = pool.submit(made.chat, [SYSTEM, USER], max_tokens=100, model="policy-000001")
        while not made.sampler._active:
            threading.Event().wait(0.001)
        publishing = threading.Thread(target=made.sampler.publish, args=(2, made.params))
        with made.sampler.paused():
            publishing.start()
            while not made.sampler._draining:
                threading.Event().wait(0.001)
            # Accepted while 1 is served; when they are looked at, 2 is.
            late = []
            for version in (1, 0)[: len(answers)]:
                asked = {**body, "model": f"policy-00000{version}"}
                late.append(pool.submit(made.request, "POST", "/v1/chat/completions", asked))
            while len(made.sampler._later) < len(late):
                threading.Event().wait(0.001)
        assert early.result(30)["policy_version"] == 1
        for one, status in zip(late, answers, strict=True):
            got, reply = one.result(30)
            assert got == status
            assert reply["policy_version"] == 2 if status == 200 else reply["error"]["code"] == "policy_replaced"
        publishing.join()
    endpoint.close()


def test_rows_are_evicted_beyond_the_memory_budget(llama_folder: pathlib.Path) -> None:
    made, endpoint = serve(llama_folder)
    made.sampler._kv_bytes = 1
    first = made.chat([SYSTEM, USER], rollout="a")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: made.chat([SYSTEM, USER], rollout=f"b{i}"), range(4)))
    messages = [SYSTEM, USER, first["choices"][0]["message"], USER]
    reply = made.chat(messages, rollout="a")
    held = first["prompt_token_ids"] + first["choices"][0]["token_ids"]
    assert reply["prompt_token_ids"][: len(held)] == held
    assert reply["usage"]["prompt_tokens_details"]["cached_tokens"] < len(held) - 1
    said = [item["logprob"] for item in reply["choices"][0]["logprobs"]["content"]]
    np.testing.assert_allclose(said, made.logp(reply), atol=1e-4)
    endpoint.close()


def test_one_request_per_rollout_at_a_time(fast: Client) -> None:
    with ThreadPoolExecutor(2) as pool, fast.sampler.paused():
        first = pool.submit(fast.chat, [USER], rollout="r")
        threading.Event().wait(0.2)
        status, reply = fast.request("POST", "/v1/chat/completions", {"messages": [USER], "rollout": "r"})
        assert (status, reply["error"]["code"]) == (409, "rollout_busy")
    assert first.result(30)["choices"]


def test_a_client_that_goes_away_frees_its_rollout(fast: Client) -> None:
    with fast.sampler.paused():
        connection = http.client.HTTPConnection(urlsplit(fast.url).netloc, timeout=10)
        body = json.dumps({"messages": [USER], "rollout": "r", "max_tokens": 400})
        connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {TOKEN}"})
        threading.Event().wait(0.2)
        connection.close()
        threading.Event().wait(0.2)
    fast.chat([USER])
    assert fast.chat([USER], rollout="r")["choices"]
