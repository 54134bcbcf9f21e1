"""A server for tests of remote decoders: it answers as its script says, and keeps what it was sent."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Stub:
    """url: for the clients. heads, bodies: of the requests so far. gone: a client has hung up."""

    url: str
    heads: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


def stream(*events: object, done: bool = True) -> Answer:
    """Server-sent events: objects as JSON, texts as they are."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for event in events:
            text = event if isinstance(event, str) else f"data: {json.dumps(event)}"
            writer.write(f"{text}\n\n".encode())
            await writer.drain()
        if done:
            writer.write(b"data: [DONE]\n\n")

    return answer


def refuse(status: int, body: str = "", **headers: str) -> Answer:
    """A failure."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body.encode())}", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    return answer


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close the connection without a word."""


def delta(text: str, choice: int = 0, finish: str | None = None, **more: object) -> dict[str, object]:
    """A chunk of a chat with one choice."""
    return {"choices": [{"index": choice, "delta": {"content": text}, "finish_reason": finish, **more}]}


@asynccontextmanager
async def serving(*script: Answer) -> AsyncIterator[Stub]:
    """A server on loopback that answers its requests with the script, one after another, the last again."""
    stub = Stub("")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = int(head.lower().split("content-length:")[1].split()[0])
        stub.bodies.append(json.loads(await reader.readexactly(length)))
        stub.heads.append(head)
        answering = asyncio.ensure_future(_answer(writer, script[min(len(stub.bodies), len(script)) - 1]))
        await reader.read()
        stub.gone.set()
        answering.cancel()
        writer.close()

    async def _answer(writer: asyncio.StreamWriter, answer: Answer) -> None:
        await answer(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    stub.url = f"http://{host}:{port}/v1"
    async with server:
        yield stub
