"""A small HTTP/1.1 client on asyncio, so that the client's own time stays below that of what it measures."""

import asyncio
import json
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Address:
    """A route of a server."""

    host: str
    port: int
    path: str


def post(address: Address, body: object) -> bytes:
    """A whole request with a JSON body."""
    content = json.dumps(body).encode()
    head = (
        f"POST {address.path} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode("ascii") + content


class Connection:
    """A kept-alive connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        return cls(*await asyncio.open_connection(host, port))

    async def send(self, request: bytes) -> None:
        self._writer.write(request)
        await self._writer.drain()

    async def receive(self) -> tuple[int, bytes]:
        """Status and body of the next response. Raises ConnectionError when the server has hung up."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, length = _read_head(head)
            return status, await self._reader.readexactly(length)
        except asyncio.IncompleteReadError as error:
            raise ConnectionError("the server closed the connection within a response") from error

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        await self.send(request)
        return await self.receive()

    def close(self) -> None:
        self._writer.close()


def _read_head(head: str) -> tuple[int, int]:
    first, *lines = head.split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(":") for line in lines)}
    if "content-length" not in fields:
        raise ConnectionError(f"a response without content-length: {first}")
    return int(first.split()[1]), int(fields["content-length"])
