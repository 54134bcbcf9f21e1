"""Clients that search and ask, and some that are slow or leave, in a process of their own: one JSON object
in, one out.

python -m tests.benchmarks.load_clients < ORDER
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Self

from tests.benchmarks.http_client import Address, post
from tests.benchmarks.quantiles import percentile
from tests.benchmarks.service import QUESTIONS
from tests.benchmarks.soak_clients import english_paragraphs

REFUSED = (429, 503)
TIMEOUT_S = 120.0
MOST_CONNECTIONS = 500
LONGEST_PATIENCE_S = 0.3
LONGEST_IDLE_S = 2.0  # the server hangs up after 5
DRIBBLE_EVERY_S = 2.0


class Kind(StrEnum):
    """What a client asks for. VANISHED: an answer that it does not wait for."""

    SEARCH = "search"
    ANSWER = "answer"
    STREAM = "stream"
    VANISHED = "vanished"


SHARES = {Kind.SEARCH: 75, Kind.ANSWER: 14, Kind.STREAM: 7, Kind.VANISHED: 4}


class Reply(NamedTuple):
    """retry_after_s: what the reply asks for; None where it does not. ended: whether the stream, if it is
    one, told its final answer.
    """

    status: int
    retry_after_s: float | None
    ended: bool


@dataclass(slots=True)
class Tally:
    """What the clients saw, by kind. unexpected: what should not be, by its description."""

    served_s: dict[Kind, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused_s: dict[Kind, list[float]] = field(default_factory=lambda: defaultdict(list))
    unexpected: Counter[str] = field(default_factory=Counter)
    without_time: int = 0
    not_sent: int = 0

    def note(self, kind: Kind, reply: Reply, seconds: float) -> None:
        """Count a reply."""
        if reply.status in REFUSED:
            self.refused_s[kind].append(seconds)
            self.without_time += reply.retry_after_s is None
        elif reply.status != 200 or not reply.ended:
            self.unexpected[f"{kind}: {reply.status}, {'whole' if reply.ended else 'broken off'}"] += 1
        else:
            self.served_s[kind].append(seconds)

    def summary(self, seconds: float) -> Mapping[str, object]:
        """As it is printed."""
        return {
            "kinds": {kind: self._row(kind, seconds) for kind in Kind if kind is not Kind.VANISHED},
            "unexpected": dict(self.unexpected),
            "refused_without_a_time": self.without_time,
            "not_sent": self.not_sent,
        }

    def _row(self, kind: Kind, seconds: float) -> Mapping[str, float | None]:
        served, refused = self.served_s[kind], self.refused_s[kind]
        return {
            "served": len(served),
            "served_per_s": round(len(served) / seconds, 2),
            "p50_ms": _ms(served, 0.5),
            "p99_ms": _ms(served, 0.99),
            "refused": len(refused),
            "refused_p99_ms": _ms(refused, 0.99),
        }


def _ms(seconds: list[float], share: float) -> float | None:
    return round(1000 * percentile(seconds, share), 1) if seconds else None


class Line:
    """A kept-alive connection that reads whole and streamed replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.idle_since = 0.0

    @classmethod
    async def open(cls, address: Address) -> Self:
        return cls(*await asyncio.open_connection(address.host, address.port))

    async def ask(self, request: bytes) -> Reply:
        """Raises OSError or asyncio.IncompleteReadError when the server hangs up."""
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        first, *lines = head.split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines if ": " in line)
        pause = fields.get("retry-after")
        told = int(first.split()[1]), None if pause is None else float(pause)
        if "content-length" in fields:
            await self.reader.readexactly(int(fields["content-length"]))
            return Reply(*told, ended=True)
        return Reply(*told, ended=b"event: final_answer" in await self._chunks())

    async def _chunks(self) -> bytes:
        body = b""
        while (size := int(await self.reader.readline(), 16)) > 0:
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)
        return body

    def close(self) -> None:
        self.writer.transport.abort()


class Clients:
    """Clients of the collection `guide`."""

    def __init__(self, host: str, port: int, seed: int = 0) -> None:
        self.tally = Tally()
        self._search = Address(host, port, "/v1/collections/guide/search")
        self._answer = Address(host, port, "/v1/collections/guide/answer")
        self._texts = english_paragraphs()
        self._chance = random.Random(seed)

    async def closed_loop(self, clients: int, seconds: float) -> None:
        """So many clients, each of which asks again when it has its reply, and waits when it is refused."""
        until = time.perf_counter() + seconds
        await asyncio.gather(*(self._client(until) for _ in range(clients)))

    async def open_loop(self, rate: float, seconds: float) -> None:
        """So many requests a second, whatever becomes of them."""
        idle: list[Line] = []
        began, sent = time.perf_counter(), 0
        tasks = set[asyncio.Task[Reply | None]]()
        while (now := time.perf_counter() - began) < seconds:
            await asyncio.sleep(max(0.0, sent / rate - now))
            sent += 1
            if len(tasks) >= MOST_CONNECTIONS:
                self.tally.not_sent += 1
                continue
            task = asyncio.create_task(self._one(idle))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        for line in idle:
            line.close()

    async def _client(self, until: float) -> None:
        idle: list[Line] = []
        while time.perf_counter() < until:
            reply = await self._one(idle)
            if reply is not None and reply.status in REFUSED:
                await asyncio.sleep(min(reply.retry_after_s or 1.0, max(0.0, until - time.perf_counter())))
        for line in idle:
            line.close()

    async def _one(self, idle: list[Line]) -> Reply | None:
        """Ask once, on an idle connection if there is one; None when nothing was answered."""
        kind = self._chance.choices(tuple(SHARES), tuple(SHARES.values()))[0]
        request, began = self._request(kind), time.perf_counter()
        try:
            line = await self._line(idle)
            if kind is Kind.VANISHED:
                await self._leave(line, request)
                return None
            reply = await asyncio.wait_for(line.ask(request), TIMEOUT_S)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.tally.unexpected[f"{kind}: {type(error).__name__}"] += 1
            return None
        self.tally.note(kind, reply, time.perf_counter() - began)
        line.idle_since = time.perf_counter()
        idle.append(line)
        return reply

    async def _line(self, idle: list[Line]) -> Line:
        """An idle connection, or a new one. One that the server may be about to close is not used again."""
        while idle:
            line = idle.pop()
            if time.perf_counter() - line.idle_since < LONGEST_IDLE_S:
                return line
            line.close()
        return await Line.open(self._search)

    async def _leave(self, line: Line, request: bytes) -> None:
        line.writer.write(request)
        await asyncio.sleep(self._chance.random() * LONGEST_PATIENCE_S)
        line.close()

    def _request(self, kind: Kind) -> bytes:
        words = self._chance.choice(self._texts).split()
        if kind is Kind.SEARCH:
            return post(self._search, {"query": " ".join(words[: self._chance.randint(3, 14)])})
        question = self._chance.choice((*QUESTIONS, f"What is {' '.join(words[:3])}?"))
        request = post(self._answer, {"question": question})
        return _as_stream(request) if kind is Kind.STREAM else request


def _as_stream(request: bytes) -> bytes:
    return request.replace(b"\r\nHost", b"\r\nAccept: text/event-stream\r\nHost", 1)


@asynccontextmanager
async def slow_clients(address: Address, count: int) -> AsyncIterator[None]:
    """Beside the others, so many that send a byte of a head now and then, that send part of a body, and that
    ask for a stream and do not read it; each begins again when it is hung up on.
    """
    heads = (b"POST / HTTP/1.1\r\nX-Slow: ", post(address, {"question": "x" * 5000})[:300])
    unread = _as_stream(post(address, {"question": QUESTIONS[0]}))
    tasks = [asyncio.create_task(_dribble(address, each)) for each in (*heads, unread) for _ in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _dribble(address: Address, beginning: bytes) -> None:
    while True:
        line = await Line.open(address)
        with suppress(OSError):
            line.writer.write(beginning)
            while not line.reader.at_eof() and not line.writer.is_closing():
                await asyncio.sleep(DRIBBLE_EVERY_S)
                line.writer.write(b"x")
                await line.writer.drain()
        line.close()


async def run(order: Mapping[str, float]) -> Mapping[str, object]:
    """What the order's clients saw. order: rate: 0 for clients that wait for their replies."""
    host, port = str(order["host"]), int(order["port"])
    clients, seconds = Clients(host, port), order["seconds"]
    answer = Address(host, port, "/v1/collections/guide/answer")
    async with slow_clients(answer, int(order["slow"])):
        if order["rate"]:
            await clients.open_loop(order["rate"], seconds)
        else:
            await clients.closed_loop(int(order["clients"]), seconds)
    return clients.tally.summary(seconds)


def main() -> None:
    json.dump(asyncio.run(run(json.load(sys.stdin))), sys.stdout)


if __name__ == "__main__":
    main()
