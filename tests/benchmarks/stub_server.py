"""An HTTP server for tests of the clients: answers each request with the status that a function gives it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.benchmarks.http_client import Address


@asynccontextmanager
async def serving(status_of: Callable[[Any], int]) -> AsyncIterator[Address]:
    """A server on loopback. status_of: from the request's JSON body."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while body := await _read_body(reader):
            reply = b'{"ok": true}'
            head = f"HTTP/1.1 {status_of(json.loads(body))} X\r\nContent-Length: {len(reply)}\r\n\r\n"
            writer.write(head.encode("ascii") + reply)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server:
        yield Address(host, port, "/v1/embeddings")


async def _read_body(reader: asyncio.StreamReader) -> bytes:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split()[0])
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""
