"""One HTTP request at a time to a server: over TCP, TLS or a Unix socket, on the running event loop.

A request whose task is cancelled closes its connection, by which the server knows that nobody waits any more.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

MAX_REPLY_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class Address:
    """Where a server listens. socket: a Unix socket's path, or None for TCP to ``host``:``port``; path: what every
    request's path begins with; shown: for messages, without credentials."""

    shown: str
    host: str
    port: int
    socket: str | None = None
    tls: bool = False
    path: str = ""

    @classmethod
    def of_url(cls, url: str) -> Address:
        """The server of a base URL, which may end with /v1."""
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        path = parts.path.rstrip("/").removesuffix("/v1")
        host, port = parts.hostname or "", parts.port or (443 if tls else 80)
        name = f"[{host}]" if ":" in host else host
        return cls(f"{parts.scheme}://{name}:{port}{path}", host, port, tls=tls, path=path)

    @classmethod
    def of_socket(cls, path: str) -> Address:
        return cls(f"unix:{path}", "localhost", 0, socket=path)


async def exchange(
    address: Address, method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[int, bytes]:
    """Sends a request on a connection of its own: (status, body). Raises ConnectionError if no answer comes."""
    try:
        reader, writer = await _connect(address)
        try:
            return await _converse(reader, writer, address, (method, path), headers, body or b"")
        finally:
            writer.close()
    except (OSError, EOFError, h11.RemoteProtocolError) as error:  # ConnectionError and ssl.SSLError are OSErrors
        raise ConnectionError(f"{type(error).__name__}: {error}") from error


async def _connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if address.socket is not None:
        return await asyncio.open_unix_connection(address.socket)
    context = ssl.create_default_context() if address.tls else None
    return await asyncio.open_connection(address.host, address.port, ssl=context)


async def _converse(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    address: Address,
    target: tuple[str, str],
    headers: dict[str, str],
    body: bytes,
) -> tuple[int, bytes]:
    connection = h11.Connection(h11.CLIENT)
    sent = {
        "host": address.host if address.socket else f"{address.host}:{address.port}",
        "connection": "close",
        "content-type": "application/json",
        "content-length": str(len(body)),
        **headers,
    }
    head = h11.Request(method=target[0], target=address.path + target[1], headers=list(sent.items()))
    parts = (head, h11.Data(data=body), h11.EndOfMessage())
    writer.write(b"".join(connection.send(part) or b"" for part in parts))
    await writer.drain()
    status, reply = 0, bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            reply += event.data
            if len(reply) > MAX_REPLY_BYTES:
                raise ConnectionError(f"the reply exceeds {MAX_REPLY_BYTES} bytes")
        elif isinstance(event, h11.EndOfMessage):
            return status, bytes(reply)
        elif isinstance(event, h11.ConnectionClosed):
            raise ConnectionError("the server closed the connection without an answer")
