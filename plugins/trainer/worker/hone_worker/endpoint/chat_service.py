"""OpenAI-shaped chat requests in, sampled answers out: what the endpoint serves.

A request with a rollout handle continues that rollout's chain of ids (see ``chat_template``), so that its
prompt begins with exactly the ids that were sampled before. One policy is served at a time, under the name
``policy-<version>``; it also answers for the versions just before it that the sampler accepts. Whichever was
asked for, a reply names the version that spoke.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, InvalidStateError
from typing import Any, Protocol

from hone_worker.chat_template import Chain, ChatTemplate
from hone_worker.endpoint.http_server import HttpError
from hone_worker.endpoint.sampler import Generation, Job
from hone_worker.errors import WorkerError

MAX_CHAINS = 4096
DEFAULT_MAX_TOKENS = 512
_UNSUPPORTED = {"stream": (None, False), "n": (None, 1), "top_k": (None, 0, -1), "min_p": (None, 0),
                "frequency_penalty": (None, 0), "presence_penalty": (None, 0), "logit_bias": (None, {})}


def model_name(version: int) -> str:
    """The name under which a policy is served."""
    return f"policy-{version:06d}"


class Answerer(Protocol):
    """Who samples the answers: ``sampler.Sampler``, or whatever behaves like it."""

    def submit(self, job: Job) -> None: ...
    def release(self, rollout: str) -> bool: ...
    def versions(self) -> list[int]: ...


class ChatService:
    """Answers chat requests by one sampler; thread-safe."""

    def __init__(self, template: ChatTemplate, sampler: Answerer, context_tokens: int, seed: int = 0) -> None:
        self._template, self._sampler = template, sampler
        self._context = context_tokens
        self._seeds = itertools.count(seed * 1_000_003)
        self._numbers = itertools.count(1)
        self._chains: OrderedDict[str, Chain] = OrderedDict()
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    def models(self) -> list[str]:
        """The names that a request may give: the served policy's, then those that it answers for."""
        return [model_name(version) for version in self._sampler.versions()]

    def release(self, body: dict[str, Any]) -> dict[str, Any]:
        """Forgets a rollout handle."""
        rollout = body.get("rollout")
        if not isinstance(rollout, str):
            raise HttpError(400, "bad_request", f"rollout is {rollout!r}; a string is wanted.")
        with self._lock:
            known = self._chains.pop(rollout, None) is not None
        return {"released": self._sampler.release(rollout) or known}

    def chat(self, body: dict[str, Any]) -> Future[dict[str, Any]]:
        """Starts a completion; raises HttpError for a request that cannot be answered."""
        version = self._version(body.get("model"))
        for name, allowed in _UNSUPPORTED.items():
            if body.get(name) not in allowed:
                raise HttpError(400, "unsupported", f"{name} is {body[name]!r}; this endpoint does not support it.")
        messages = _messages(body.get("messages"))
        tools = body.get("tools")
        if tools is not None and not isinstance(tools, list):
            raise HttpError(400, "bad_request", f"tools is {tools!r}; a list is wanted.")
        rollout = body.get("rollout")
        if rollout is not None and not isinstance(rollout, str):
            raise HttpError(400, "bad_request", f"rollout is {rollout!r}; a string is wanted.")
        options = _options(body)
        chain = self._take(rollout)
        try:
            return self._start(body, chain, rollout, version, messages, tools, options)
        except BaseException:
            self._give_back(rollout)
            raise

    def _start(
        self, body: dict[str, Any], chain: Chain, rollout: str | None, version: int | None,
        messages: list[dict[str, Any]], tools: list[Any] | None, options: dict[str, Any],
    ) -> Future[dict[str, Any]]:
        try:
            prompt, _ = chain.prompt(messages, tools)
            shared = self._template.shared_ids(messages, tools, prompt)
        except WorkerError as error:
            raise HttpError(400, error.code.lower(), error.message) from error
        room = self._context - len(prompt)
        if room < 1:
            raise HttpError(400, "context_length_exceeded",
                            f"The prompt has {len(prompt)} tokens; the context of {self._context} leaves no room.")
        response: Future[dict[str, Any]] = Future()

        def done(result: Generation | Exception) -> None:
            if response.cancelled():
                return
            if isinstance(result, Generation):
                chain.reply(result.ids, result.text)
            try:
                if isinstance(result, Generation):
                    response.set_result(self._reply(body, prompt, result))
                else:
                    response.set_exception(_http(result))
            except InvalidStateError:
                pass  # the client went away

        response.add_done_callback(lambda _: self._give_back(rollout))
        limit = min(options.pop("max_tokens"), room)
        seed = options.pop("seed")
        self._sampler.submit(Job(
            prompt=prompt, shared=shared, max_tokens=limit, rollout=rollout, done=done, gone=response.cancelled,
            version=version, seed=next(self._seeds) if seed is None else seed, **options))
        return response

    def _version(self, model: Any) -> int | None:
        if model is None:
            return None
        known = {model_name(version): version for version in self._sampler.versions()}
        if model not in known:
            served = next(iter(known))
            raise HttpError(404, "model_not_found", f"There is no model {model!r}; {served!r} is served.")
        return known[model]

    def _take(self, rollout: str | None) -> Chain:
        if rollout is None:
            return Chain(self._template)
        with self._lock:
            if rollout in self._busy:
                raise HttpError(409, "rollout_busy", f"Rollout {rollout!r} already has a request open.")
            self._busy.add(rollout)
            chain = self._chains.pop(rollout, None) or Chain(self._template)
            self._chains[rollout] = chain
            if len(self._chains) > MAX_CHAINS:
                self._chains.popitem(last=False)
            return chain

    def _give_back(self, rollout: str | None) -> None:
        with self._lock:
            self._busy.discard(rollout or "")

    def _reply(self, body: dict[str, Any], prompt: list[int], made: Generation) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": made.text},
            "finish_reason": made.finish_reason,
            "logprobs": None,
        }
        reply = {
            "id": f"chatcmpl-{next(self._numbers)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model_name(made.version),
            "policy_version": made.version,
            "choices": [choice],
            "usage": {
                "prompt_tokens": len(prompt),
                "completion_tokens": len(made.ids),
                "total_tokens": len(prompt) + len(made.ids),
                "prompt_tokens_details": {"cached_tokens": made.cached},
            },
        }
        if body.get("logprobs"):
            choice["logprobs"] = {"content": [
                {"token": self._template.decode([token]), "logprob": logprob}
                for token, logprob in zip(made.ids, made.logprobs, strict=True)]}
        if body.get("return_token_ids"):
            reply["prompt_token_ids"] = prompt
            choice["token_ids"] = made.ids
        return reply


def _http(error: Exception) -> HttpError:
    if isinstance(error, WorkerError) and error.code == "POLICY_REPLACED":
        return HttpError(409, error.code.lower(), error.message)
    return HttpError(500, "internal", str(error))


def _messages(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise HttpError(400, "bad_request", "messages is not a list with at least one message.")
    return [_message(message, f"messages[{index}]") for index, message in enumerate(value)]


def _message(message: Any, name: str) -> dict[str, Any]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise HttpError(400, "bad_request", f"{name} is not an object with a role.")
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if not all(isinstance(text, str) for text in texts):
            raise HttpError(400, "bad_request", f"{name}.content has a part that is not text.")
        content = "".join(texts)
    if content is not None and not isinstance(content, str):
        raise HttpError(400, "bad_request", f"{name}.content is not text.")
    return {**message, "content": content or ""}


def _options(body: dict[str, Any]) -> dict[str, Any]:
    def number(name: str, default: float, low: float, high: float) -> float:
        value = body.get(name)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise HttpError(400, "bad_request", f"{name} is {value!r}; a number from {low:g} to {high:g} is wanted.")
        return value

    stop = body.get("stop") or []
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(text, str) and text for text in stops):
        raise HttpError(400, "bad_request", f"stop is {stop!r}; text or a list of texts is wanted.")
    seed = body.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise HttpError(400, "bad_request", f"seed is {seed!r}; a whole number is wanted.")
    limit = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    return {
        "max_tokens": int(number(limit, DEFAULT_MAX_TOKENS, 1, 1_000_000)),
        "temperature": float(number("temperature", 1.0, 0.0, 100.0)),
        "top_p": float(number("top_p", 1.0, 1e-6, 1.0)),
        "seed": None if seed is None else abs(seed),
        "stop": tuple(stops),
    }
