"""The parts of vLLM's HTTP interface that rollouts need, of one server.

Prompts go as token ids and answers come as token ids with the log-probability of each: nothing is tokenised here or
re-tokenised there. Every sampling filter is sent explicitly, off, because a server may have other defaults.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from hone_worker.vllm.http_client import Address, exchange

_HEALTH_SECS = 30.0


class Refused(Exception):
    """The server answered that it will not: its status and its words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


@dataclass(frozen=True)
class Sampling:
    """What to sample. stop_ids: tokens that end an answer and belong to it; stop: texts that end it."""

    prompt: list[int]
    max_tokens: int
    seed: int
    temperature: float = 1.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    stop_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Completion:
    """ids: sampled, an end token included; logprobs: theirs; finish_reason: "stop" or "length"; stop_text: the text
    that ended it; cached: prompt tokens that were not computed again; top: the first token's likeliest one, as (text,
    log-probability), where it was asked for."""

    ids: list[int]
    logprobs: list[float]
    finish_reason: str
    stop_text: str | None
    cached: int
    top: tuple[str, float] | None = None


@dataclass(frozen=True)
class Base:
    """The base model as a server has it: its name there, and the longest sequence in tokens."""

    name: str
    max_model_len: int


class VllmApi:
    """Requests to one server. Methods raise ConnectionError where no answer came, and Refused."""

    def __init__(self, address: Address, api_key: str | None = None) -> None:
        self.address = address
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}

    async def healthy(self) -> bool:
        """Whether the server and its engine live; no exception."""
        try:
            async with asyncio.timeout(_HEALTH_SECS):
                return (await exchange(self.address, "GET", "/health", self._headers))[0] == 200
        except (ConnectionError, TimeoutError):
            return False

    async def version(self) -> str:
        return str((await self._call("GET", "/version")).get("version", "unknown"))

    async def base(self) -> Base:
        """The model that adapters are added to."""
        cards = (await self._call("GET", "/v1/models")).get("data") or []
        card = next((card for card in cards if not card.get("parent")), None)
        if card is None:
            raise Refused(200, "it lists no base model")
        return Base(str(card["id"]), int(card.get("max_model_len") or 0))

    async def load_adapter(self, name: str, folder: str) -> None:
        await self._call("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": folder})

    async def unload_adapter(self, name: str) -> None:
        await self._call("POST", "/v1/unload_lora_adapter", {"lora_name": name})

    async def sleep(self) -> None:
        """Moves the weights to the host's memory and frees the rest of the GPU's; no request may be open."""
        await self._call("POST", "/sleep?level=1")

    async def wake(self) -> None:
        await self._call("POST", "/wake_up")

    async def complete(self, model: str, wanted: Sampling, likeliest: bool = False) -> Completion:
        """Samples one answer of ``model``; ``likeliest`` asks for ``Completion.top``."""
        body = {
            "model": model,
            "prompt": wanted.prompt,
            "max_tokens": wanted.max_tokens,
            "seed": wanted.seed,
            "temperature": wanted.temperature,
            "top_p": wanted.top_p,
            "stop": list(wanted.stop),
            "stop_token_ids": list(wanted.stop_ids),
            "logprobs": 1 if likeliest else 0,
            "return_token_ids": True,
            **_NO_FILTER,
        }
        return _completion(await self._call("POST", "/v1/completions", body), wanted)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        status, reply = await exchange(self.address, method, path, self._headers, data)
        if status != 200:
            raise Refused(status, _words(reply))
        try:
            found = json.loads(reply)
        except ValueError:  # some routes answer with plain text, or nothing
            return {}
        return found if isinstance(found, dict) else {}


_NO_FILTER = {
    "n": 1,
    "stream": False,
    "top_k": 0,
    "min_p": 0.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
    "add_special_tokens": False,
    # Stop texts may hold special tokens.
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
}


def _completion(reply: dict[str, Any], wanted: Sampling) -> Completion:
    try:
        choice = reply["choices"][0]
        ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        reason, stop_text = choice["finish_reason"], choice.get("stop_reason")
        prompt = choice.get("prompt_token_ids") or reply.get("prompt_token_ids")
        details = (reply.get("usage") or {}).get("prompt_tokens_details") or {}
        top = choice["logprobs"].get("top_logprobs") or [None]
        first = max(top[0].items(), key=lambda item: item[1]) if top[0] else None
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise Refused(200, f"its answer has no token ids with log-probabilities ({error!r})") from error
    if prompt != wanted.prompt:
        raise Refused(200, "it sampled from other token ids than it was given")
    if not ids or len(ids) != len(logprobs) or not all(isinstance(value, (int, float)) for value in logprobs):
        raise Refused(200, f"{len(ids)} token ids have {len(logprobs)} log-probabilities")
    if reason not in ("stop", "length"):
        raise Refused(200, f"it ended an answer by {reason!r}")
    text = stop_text if isinstance(stop_text, str) else None
    return Completion(ids, logprobs, reason, text, int(details.get("cached_tokens") or 0), first)


def _words(reply: bytes) -> str:
    """What an error's body says, in one line."""
    try:
        found = json.loads(reply)
        error = found.get("error", found)
        words = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        words = reply.decode("utf-8", "replace")
    return " ".join(str(words).split())[:500].rstrip(".")
