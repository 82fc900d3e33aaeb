"""A server with the parts of vLLM's HTTP interface that hone uses, over a model that is a table of random numbers.

It refuses fields that vLLM's documentation does not have. Its next-token logits depend on the last id and on the
adapter's weights, so that answers can be recomputed: ``logprobs``. As a program it takes the words of `vllm serve`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import pathlib
import socket
import socketserver
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

VOCAB, EOS = 96, 1
COMPLETION_FIELDS = set(
    """model prompt max_tokens seed temperature top_p stop stop_token_ids logprobs return_token_ids n stream top_k min_p
    presence_penalty frequency_penalty repetition_penalty add_special_tokens skip_special_tokens
    spaces_between_special_tokens""".split())


def logprobs(ids: list[int], weights: str = "", temperature: float = 1.0) -> np.ndarray:
    """logp of ids[1:], each after the id before it."""
    rows = np.stack([_row(last, weights, temperature) for last in ids[:-1]])
    return rows[np.arange(len(ids) - 1), ids[1:]]


def _row(last: int, weights: str, temperature: float) -> np.ndarray:
    digest = hashlib.sha256(f"{last} {weights}".encode()).digest()
    logits = 3 * np.random.default_rng(int.from_bytes(digest[:8], "little")).standard_normal(VOCAB) / temperature
    return logits - np.log(np.exp(logits).sum())


@dataclass(eq=False)
class StandIn:
    """A running server. requests: (method, path, body) of all that came; adapters: weights by name; hold: completions
    wait until it is set; gone: of requests whose client went away meanwhile."""

    path: str | None = None
    base: str = "base-model"
    max_model_len: int = 512
    raw: bool = False
    lora: bool = True
    max_rank: int = 512
    key: str | None = None
    version: str = "0.32.0"
    other_model: bool = False
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    adapters: dict[str, str] = field(default_factory=dict)
    asleep: bool = False
    waiting: int = 0
    gone: int = 0

    def __post_init__(self) -> None:
        self.hold = threading.Event()
        self.hold.set()
        self.changed = threading.Condition()
        kind = _UnixServer if self.path else _TcpServer
        self.server = kind(self.path or ("127.0.0.1", 0), _handler_of(self))
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def bodies(self, path: str) -> list[Any]:
        """What was sent to a path, in order."""
        return [body for _, where, body in self.requests if where == path]

    def wait_for(self, holds: Any) -> None:
        """Until ``holds()``, which is asked whenever something happened here."""
        with self.changed:
            assert self.changed.wait_for(holds, 20)

    def happened(self, name: str | None = None, by: int = 0) -> None:
        with self.changed:
            if name:
                setattr(self, name, getattr(self, name) + by)
            self.changed.notify_all()

    def close(self) -> None:
        """Stops listening and breaks off what is open."""
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.server.connections):
            with contextlib.suppress(OSError):  # ended before
                connection.shutdown(socket.SHUT_RDWR)
        self.hold.set()

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if (method, path) == ("GET", "/health"):
            return 200, None
        if (method, path) == ("GET", "/version"):
            return 200, {"version": self.version}
        if (method, path) == ("GET", "/v1/models"):
            cards = [{"id": name, "parent": self.base} for name in self.adapters]
            base = {"id": self.base, "parent": None, "max_model_len": self.max_model_len}
            return 200, {"object": "list", "data": [*cards, base]}
        if (method, path) == ("POST", "/sleep") or (method, path) == ("POST", "/wake_up"):
            self.asleep = path == "/sleep"
            assert path == "/wake_up" or query == {"level": ["1"]}
            return 200, {"status": "sleeping" if self.asleep else "awake"}
        if (method, path) == ("POST", "/v1/completions"):
            return self._complete(body)
        if method == "POST" and path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter") and self.lora:
            return self._load(body) if path == "/v1/load_lora_adapter" else self._unload(body)
        return 404, {"detail": "Not Found"}

    def _load(self, body: Any) -> tuple[int, Any]:
        name, folder = body["lora_name"], pathlib.Path(body["lora_path"])
        if name in self.adapters:
            return _error(400, f"The lora adapter '{name}' has already been loaded.")
        if not (folder / "adapter_config.json").is_file():
            return _error(404, f"Loading lora {name} failed: No adapter found for {folder}")
        rank = json.loads((folder / "adapter_config.json").read_text())["r"]
        if rank > self.max_rank:
            return _error(500, f"LoRA rank {rank} is greater than max_lora_rank {self.max_rank}.")
        weights = (folder / "adapter_model.safetensors").read_bytes()
        self.adapters[name] = hashlib.sha256(weights).hexdigest()
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def _unload(self, body: Any) -> tuple[int, Any]:
        if self.adapters.pop(body["lora_name"], None) is None:
            return _error(404, f"The lora adapter '{body['lora_name']}' cannot be found.")
        return 200, "Success"

    def _complete(self, body: Any) -> tuple[int, Any]:
        unknown = set(body) - COMPLETION_FIELDS
        if unknown:
            return _error(400, f"Extra inputs are not permitted: {sorted(unknown)}")
        if self.asleep:
            return _error(500, "the engine sleeps")
        if body["model"] != self.base and body["model"] not in self.adapters:
            return _error(404, f"The model `{body['model']}` does not exist.")
        if len(body["prompt"]) + body["max_tokens"] > self.max_model_len:
            return _error(400, f"This model's maximum context length is {self.max_model_len} tokens.")
        weights = "other" if self.other_model else self.adapters.get(body["model"], "")
        return 200, self._sampled(body, weights)

    def _sampled(self, body: Any, weights: str) -> dict[str, Any]:
        ids, said, tops = list(body["prompt"]), [], []
        rng, reason = np.random.default_rng(body["seed"]), "length"
        for _ in range(body["max_tokens"]):
            row = _row(ids[-1], weights, body["temperature"])
            shown = _row(ids[-1], weights, 1.0) if self.raw else row
            ids.append(int(rng.choice(VOCAB, p=np.exp(row))))
            said.append(float(shown[ids[-1]]))
            best = int(row.argmax())
            likeliest = {str(best): float(shown[best])} if body["logprobs"] else {}
            tops.append({str(ids[-1]): said[-1], **likeliest})
            if ids[-1] in body["stop_token_ids"]:
                reason = "stop"
                break
        count = len(body["prompt"])
        choice = {
            "index": 0, "text": "(text)", "finish_reason": reason, "stop_reason": ids[-1] if reason == "stop" else None,
            "token_ids": ids[count:], "prompt_token_ids": body["prompt"],
            "logprobs": {"token_logprobs": said, "top_logprobs": tops},
        }
        return {"choices": [choice], "usage": {"prompt_tokens": count, "prompt_tokens_details": {"cached_tokens": 0}}}


def _error(status: int, message: str) -> tuple[int, Any]:
    return status, {"error": {"message": message, "type": "Error", "param": None, "code": status}}


class _Connections:
    """Knows its connections, so that they can be broken off."""

    daemon_threads = True
    request_queue_size = 128

    def get_request(self) -> Any:
        made = super().get_request()  # type: ignore[misc]
        self.connections = [*getattr(self, "connections", []), made[0]]
        return made


class _TcpServer(_Connections, socketserver.ThreadingMixIn, socketserver.TCPServer):
    connections: list[Any] = []


class _UnixServer(_Connections, socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    connections: list[Any] = []


def _handler_of(standin: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._respond("GET")

        def do_POST(self) -> None:
            self._respond("POST")

        def _respond(self, method: str) -> None:
            data = self.rfile.read(int(self.headers.get("content-length") or 0))
            parts, body = urlsplit(self.path), json.loads(data) if data else None
            standin.requests.append((method, parts.path, body))
            standin.happened()
            wanted = None if standin.key is None else f"Bearer {standin.key}"
            if parts.path.startswith("/v1") and wanted is not None and self.headers.get("authorization") != wanted:
                return self._send(401, {"error": "Unauthorized"})
            if parts.path == "/v1/completions" and not standin.hold.is_set():
                standin.happened("waiting", 1)
                self._held()
                standin.happened("waiting", -1)
            self._send(*standin.answer(method, parts.path, parse_qs(parts.query), body))

        def _held(self) -> None:
            self.connection.setblocking(False)
            while not standin.hold.wait(0.02):
                try:
                    if self.connection.recv(1) == b"":
                        standin.happened("gone", 1)
                        return
                except BlockingIOError:
                    pass
                except OSError:
                    return
            self.connection.setblocking(True)

        def _send(self, status: int, body: Any) -> None:
            data = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
            try:
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except (OSError, ValueError):
                pass  # the client went away, or the server was closed

    return Handler


def main(argv: list[str]) -> None:
    """`serve MODEL --uds PATH …`, with the environment's word on whether adapters may be loaded."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["serve"])
    parser.add_argument("model")
    for name in ("uds", "max-model-len", "max-lora-rank", "max-loras", "logprobs-mode", "generation-config", "dtype",
                 "tensor-parallel-size", "gpu-memory-utilization", "last-words"):
        parser.add_argument(f"--{name}")
    for name in ("enable-lora", "enable-prompt-tokens-details", "enforce-eager", "enable-sleep-mode"):
        parser.add_argument(f"--{name}", action="store_true")
    given = parser.parse_args(argv)
    if given.last_words:
        print(f"loading\n\x1b[31m{given.last_words}\x1b[0m", file=sys.stderr)
        sys.exit(3)
    StandIn(
        given.uds, given.model, int(given.max_model_len), given.logprobs_mode != "processed_logprobs",
        given.enable_lora and os.environ.get("VLLM_ALLOW_RUNTIME_LORA_UPDATING") == "True", int(given.max_lora_rank))
    (pathlib.Path(given.uds).parent / "pid").write_text(str(os.getpid()))
    threading.Event().wait()
