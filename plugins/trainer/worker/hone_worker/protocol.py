"""The worker's control channel: JSON lines over descriptors that nothing else can write to.

Requests `{"v":1,"id":7,"method":"…","params":{…}}` are answered in order with
`{"id":7,"result":{…}}` or `{"id":7,"error":{"code","message","hint"}}`. Events (`heartbeat`,
`progress`, `metric`, `log`, `warning`) carry no id and may be sent from any thread. The end of
stdin is the end of the worker. Standard library only, so that it can be imported before
anything that might print.
"""

from __future__ import annotations

import json
import math
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

PROTOCOL_VERSION = 1
HEARTBEAT_SECS = 5.0
EOF_GRACE_SECS = 5.0

Handler = Callable[[dict[str, Any]], dict[str, Any]]


class Channel:
    """One duplex JSON-lines channel over two owned descriptors."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._reader = os.fdopen(read_fd, "rb")
        self._writer = os.fdopen(write_fd, "wb", buffering=0)
        self._lock = threading.Lock()
        self._stop = threading.Event()

    @classmethod
    def over_stdio(cls) -> Channel:
        """Takes over descriptors 0 and 1: afterwards stdout is stderr and stdin is empty."""
        read_fd, write_fd = os.dup(0), os.dup(1)
        os.dup2(2, 1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        return cls(read_fd, write_fd)

    def send(self, message: Mapping[str, Any]) -> None:
        """Writes one line; a reader that went away is the end of the process."""
        line = (dumps(message) + "\n").encode()
        try:
            with self._lock:
                view = memoryview(line)
                while view:
                    view = view[self._writer.write(view):]
        except (BrokenPipeError, OSError):
            os._exit(0)

    def event(self, event: str, **fields: Any) -> None:
        self.send({"event": event, **fields})

    def start_heartbeat(self, period_secs: float = HEARTBEAT_SECS) -> None:
        def beat() -> None:
            while not self._stop.wait(period_secs):
                self.event("heartbeat")

        threading.Thread(target=beat, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def lines(self) -> Iterator[bytes]:
        """Yields request lines until stdin ends.

        A thread reads ahead, so that the end of input is noticed while a request runs: what is
        queued has `EOF_GRACE_SECS` left, then the process exits, whatever it was doing.
        """
        pending: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()

        def read() -> None:
            for line in self._reader:
                pending.put(line)
            pending.put(None)
            threading.Event().wait(EOF_GRACE_SECS)
            os._exit(0)

        threading.Thread(target=read, name="requests", daemon=True).start()
        while (line := pending.get()) is not None:
            if line.strip():
                yield line


def dumps(message: Any) -> str:
    """Compact JSON in which NaN and infinities are null, as JSON itself has neither."""
    try:
        return json.dumps(message, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(message), allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def answer(line: bytes, handlers: Mapping[str, Handler]) -> dict[str, Any]:
    """Runs one request line and returns its reply; never raises."""
    request_id = None
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise ValueError("a request is a JSON object")
        request_id = request.get("id")
        version = request.get("v", PROTOCOL_VERSION)
        if version != PROTOCOL_VERSION:
            return _failed(request_id, "PROTOCOL_VERSION",
                           f"The worker speaks protocol {PROTOCOL_VERSION}, not {version!r}.",
                           "Use the worker that came with this hone.")
        method, params = request.get("method"), request.get("params") or {}
        handler = handlers.get(method) if isinstance(method, str) else None
        if handler is None:
            return _failed(request_id, "UNKNOWN_METHOD", f"The worker has no method {method!r}.",
                           "Methods: " + ", ".join(sorted(handlers)) + ".")
        if not isinstance(params, dict):
            return _failed(request_id, "BAD_REQUEST", f"params of {method} is not an object.", "")
    except ValueError as error:
        return _failed(request_id, "BAD_REQUEST", f"Not a request line: {error}.",
                       'Send {"v":1,"id":1,"method":"hello","params":{}}.')
    try:
        return {"id": request_id, "result": handler(params)}
    except Exception as error:  # the boundary: every failure becomes a reply
        code = getattr(error, "code", None)
        if isinstance(code, str):
            return _failed(request_id, code, str(getattr(error, "message", error)),
                           str(getattr(error, "hint", "") or ""))
        traceback.print_exc(file=sys.stderr)
        return _failed(request_id, "INTERNAL", f"{method} failed: {type(error).__name__}: {error}",
                       "The traceback is in the worker's log.")


def _failed(request_id: Any, code: str, message: str, hint: str) -> dict[str, Any]:
    return {"id": request_id, "error": {"code": code, "message": message, "hint": hint}}


def serve(channel: Channel, handlers: Mapping[str, Handler]) -> None:
    """Answers requests one at a time, in order, until stdin ends or `shutdown` was answered."""
    channel.start_heartbeat()
    for line in channel.lines():
        reply = answer(line, handlers)
        channel.send(reply)
        if b'"shutdown"' in line and "result" in reply and _method(line) == "shutdown":
            break
    channel.stop()


def _method(line: bytes) -> Any:
    return json.loads(line).get("method")
