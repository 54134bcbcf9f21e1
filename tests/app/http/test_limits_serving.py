"""The real server on a real socket, with routes that wait for the test."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from litestar import Litestar

from app.http import limits_connections
from app.http.serving import GracefulServer
from app.overload import Admission
from app.settings import Settings
from tests.app.http.small_application import LARGE, Work, make_application
from tests.app.http.test_limits_in_flight import until

SETTINGS = Settings(shutdown_timeout_s=1, max_in_flight_answers=20)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Site:
    """A running server. ended: its task."""

    server: GracefulServer
    application: Litestar
    work: Work
    admission: Admission
    port: int
    ended: "asyncio.Task[None]"

    def stop(self) -> None:
        """What a signal does."""
        self.server.should_exit = True

    async def connect(self) -> Ends:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, path: str, method: str = "POST") -> Ends:
        """Ask, and leave the reply unread."""
        reader, writer = await self.connect()
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        return reader, writer

    async def status(self, path: str) -> int:
        reader, writer = await self.send(path, "GET")
        line = await asyncio.wait_for(reader.readline(), 10)
        writer.close()
        return int(line.split()[1])


@asynccontextmanager
async def serving(settings: Settings = SETTINGS) -> AsyncIterator[Site]:
    work, admission = Work(), Admission(settings)
    application = make_application(work, admission)
    listener = socket.create_server(("127.0.0.1", 0))
    server = GracefulServer(application, settings)
    ended = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started)
    await application.state.opening.wait_until_ready()
    try:
        yield Site(server, application, work, admission, listener.getsockname()[1], ended)
    finally:
        server.should_exit = True
        await asyncio.wait_for(ended, 20)


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(), 20)


async def test_what_is_in_flight_finishes_after_the_signal_to_stop() -> None:
    async with serving(Settings(shutdown_timeout_s=20)) as site:
        running = [await site.send("/search"), await site.send("/stream")]
        idle, _ = await site.connect()
        await until(lambda: site.work.began == 2)
        site.stop()
        assert await rest_of(idle) == b""
        with pytest.raises(ConnectionRefusedError):
            await site.connect()
        assert not site.ended.done()
        site.work.may_end.set()
        search, stream = [await rest_of(reader) for reader, _ in running]
        assert search.startswith(b"HTTP/1.1 200")
        assert b"done" in search
        assert b"data: first" in stream
        assert stream.endswith(b"done\r\n0\r\n\r\n")
        await asyncio.wait_for(site.ended, 5)


async def test_what_does_not_finish_in_time_is_told_why() -> None:
    async with serving() as site:
        running = [await site.send("/search"), await site.send("/stream")]
        await until(lambda: site.work.began == 2)
        site.stop()
        search, stream = [await rest_of(reader) for reader, _ in running]
        assert search.startswith(b"HTTP/1.1 503")
        assert b"the service is stopping" in search
        assert b"event: error 503" in stream
        await asyncio.wait_for(site.ended, 5)
        assert site.work.stopped == 2


async def test_readiness_says_no_before_connections_are_refused() -> None:
    async with serving(Settings(shutdown_notice_s=2)) as site:
        assert await site.status("/health/ready") == 200
        site.stop()
        await until(site.application.state.opening.leaving.is_set)
        assert await site.status("/health/ready") == 503
        assert await site.status("/health/live") == 200
        site.work.may_end.set()
        assert await site.status("/read") == 200


async def test_half_sent_heads_are_hung_up_on_while_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits_connections, "HEAD_TIMEOUT_S", 1.0)
    async with serving() as site:
        slow = [await site.connect() for _ in range(60)]
        for _, writer in slow:
            writer.write(b"POST /search HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        await until(lambda: len(site.server.server_state.connections) == 60)
        assert await site.status("/health/live") == 200
        for reader, _ in slow:
            assert await rest_of(reader) == b""
        assert not site.server.server_state.connections
        assert site.application.state.slow_connections.closed == 60


async def test_replies_that_nobody_reads_do_not_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_connections, "STALL_TIMEOUT_S", 1.0)
    async with serving() as site:
        unread = [await site.send("/large", "GET") for _ in range(5)]
        await until(lambda: len(site.server.server_state.connections) == 5)
        await until(lambda: not site.server.server_state.connections)
        assert len(unread) == 5  # they are still open on this side
        reader, writer = await site.send("/large", "GET")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert len(await asyncio.wait_for(reader.readexactly(LARGE), 10)) == LARGE
        assert head.startswith(b"HTTP/1.1 200")
        writer.close()


async def test_clients_that_vanish_leave_nothing_behind() -> None:
    async with serving() as site:
        gone = [await site.send(path) for path in ("/search", "/answer", "/stream") * 10]
        await until(lambda: site.work.began == 30)
        for _, writer in gone:
            writer.transport.abort()
        await until(lambda: site.work.stopped == 30)
        await until(lambda: not site.server.server_state.connections)
        await until(lambda: not site.server.server_state.tasks)
        assert {gate.in_flight for gate in site.admission.gates.values()} == {0}
