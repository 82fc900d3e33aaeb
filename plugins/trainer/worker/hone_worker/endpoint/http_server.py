"""The loopback HTTP endpoint: one asyncio thread, keep-alive, a bearer token on every request.

It knows HTTP and nothing of models: a `Service` answers parsed JSON bodies with futures, so any
number of open requests costs one thread. Requests whose Host is not a loopback name are refused
(DNS rebinding), as are bodies beyond `MAX_BODY_BYTES`. A client that goes away cancels its
request.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import h11

from hone_worker.errors import WorkerError
from hone_worker.protocol import dumps

MAX_BODY_BYTES = 64 * 1024 * 1024
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class HttpError(Exception):
    """An OpenAI-shaped error reply."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def body(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": self.message, "type": kind, "param": None, "code": self.code}}


class Service(Protocol):
    """What the endpoint serves. `chat` and `release` raise HttpError for a bad body."""

    def models(self) -> list[str]: ...
    def chat(self, body: dict[str, Any]) -> Future[dict[str, Any]]: ...
    def release(self, body: dict[str, Any]) -> dict[str, Any]: ...


@dataclass
class _Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Endpoint:
    """Serves `service` until `close`; `start` returns the base URL."""

    def __init__(self, service: Service, token: str, max_connections: int = 1024) -> None:
        self._service = service
        self._token = token
        self._limit = max_connections
        self._connections = 0
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="http", daemon=True)

    def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Binds and listens; raises WorkerError when the address is not loopback or taken."""
        if host not in ("127.0.0.1", "localhost", "::1"):
            raise WorkerError("NOT_LOOPBACK", f"Cannot serve on {host!r}.",
                              "The endpoint listens on 127.0.0.1 only.")
        self._thread.start()
        try:
            self._server = asyncio.run_coroutine_threadsafe(
                asyncio.start_server(self._connection, host, port, backlog=512), self._loop).result()
        except OSError as error:
            raise WorkerError("PORT_UNAVAILABLE", f"Cannot listen on {host}:{port}: {error}.",
                              "Use port 0 for a free one.") from error
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self._server.sockets[0].getsockname()[1]}/v1"

    def close(self) -> None:
        """Stops listening and drops open connections."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    async def _finish(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
        try:
            while await self._exchange(connection, reader, writer):
                connection.start_next_cycle()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, h11.LocalProtocolError):
            pass  # the client went away or broke off, or the worker ends; there is nobody to tell
        finally:
            self._connections -= 1
            writer.close()

    async def _exchange(self, connection: h11.Connection, reader: asyncio.StreamReader,
                        writer: asyncio.StreamWriter) -> bool:
        """One request and its reply; False when the connection is over."""
        try:
            request = await _read(connection, reader, writer)
            if request is None:
                return False
            if self._connections > self._limit:
                raise HttpError(503, "overloaded", f"More than {self._limit} open connections.")
            status, body = 200, await self._route(request, connection, reader)
        except h11.RemoteProtocolError as error:
            failure = HttpError(error.error_status_hint, "bad_request", f"Not HTTP: {error}.")
            status, body = failure.status, failure.body()
        except HttpError as failure:
            status, body = failure.status, failure.body()
        except ConnectionError:
            raise
        except Exception as error:  # the boundary: one bad request never ends the endpoint
            traceback.print_exc(file=sys.stderr)
            status, body = 500, HttpError(500, "internal", f"{type(error).__name__}: {error}").body()
        await _write(connection, writer, status, body)
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _route(self, request: _Request, connection: h11.Connection,
                     reader: asyncio.StreamReader) -> dict[str, Any]:
        host = request.headers.get("host", "")
        if (host.rsplit(":", 1)[0] if not host.endswith("]") else host) not in LOOPBACK_HOSTS:
            raise HttpError(403, "forbidden_host", f"Host {host!r} is not a loopback name.")
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            raise HttpError(401, "unauthorized", "A bearer token is wanted, and this is not it.")
        routes: dict[str, tuple[str, Callable[[], Any]]] = {
            "/health": ("GET", lambda: {"status": "ok"}),
            "/v1/health": ("GET", lambda: {"status": "ok"}),
            "/v1/models": ("GET", self._models),
            "/v1/chat/completions": ("POST", lambda: self._service.chat(_json(request))),
            "/v1/rollouts/release": ("POST", lambda: self._service.release(_json(request))),
        }
        path = request.path.split("?", 1)[0]
        if path not in routes:
            raise HttpError(404, "not_found", f"No such path: {path}.")
        method, respond = routes[path]
        if request.method != method:
            raise HttpError(405, "method_not_allowed", f"{path} takes {method}.")
        result = respond()
        return await _settled(result, reader, connection) if isinstance(result, Future) else result

    def _models(self) -> dict[str, Any]:
        return {"object": "list", "data": [
            {"id": name, "object": "model", "owned_by": "hone"} for name in self._service.models()]}


async def _read(connection: h11.Connection, reader: asyncio.StreamReader,
                writer: asyncio.StreamWriter) -> _Request | None:
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                writer.write(connection.send(
                    h11.InformationalResponse(status_code=100, headers=[])) or b"")
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > MAX_BODY_BYTES:
                raise HttpError(413, "too_large", f"The body exceeds {MAX_BODY_BYTES} bytes.")
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode("latin-1"): value.decode("latin-1")
                       for name, value in head.headers}
            return _Request(head.method.decode(), head.target.decode("latin-1"), headers, bytes(body))
        else:  # ConnectionClosed
            return None


async def _write(connection: h11.Connection, writer: asyncio.StreamWriter, status: int,
                 body: dict[str, Any]) -> None:
    if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
        return
    data = dumps(body).encode()
    headers = [("content-type", "application/json"), ("content-length", str(len(data)))]
    parts = (h11.Response(status_code=status, headers=headers), h11.Data(data=data),
             h11.EndOfMessage())
    writer.write(b"".join(connection.send(part) or b"" for part in parts))
    await writer.drain()


def _json(request: _Request) -> dict[str, Any]:
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise HttpError(400, "bad_request", f"The body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise HttpError(400, "bad_request", "The body is not a JSON object.")
    if "rollout" not in body and "x-hone-rollout" in request.headers:
        body["rollout"] = request.headers["x-hone-rollout"]
    return body


async def _settled(future: Future[dict[str, Any]], reader: asyncio.StreamReader,
                   connection: h11.Connection) -> dict[str, Any]:
    """Waits for the reply while watching for the client's end; bytes read early are kept."""
    reply = asyncio.wrap_future(future)
    while True:
        watch = asyncio.ensure_future(reader.read(65536))
        await asyncio.wait({reply, watch}, return_when=asyncio.FIRST_COMPLETED)
        if watch.done():
            data = watch.result()
            if not data and not reply.done():
                future.cancel()
                raise ConnectionResetError("client went away")
            connection.receive_data(data)
            if reply.done():
                return reply.result()
        else:
            await _stop_reading(watch, connection)
            return reply.result()


async def _stop_reading(watch: asyncio.Future[bytes], connection: h11.Connection) -> None:
    watch.cancel()
    try:
        connection.receive_data(await watch)
    except asyncio.CancelledError:
        pass
