"""An application of a few routes behind the real limits, and a client that is an ASGI server's other side."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, get, post
from litestar.datastructures import State
from litestar.response import Stream

from app.http.deadlines import Deadlines
from app.http.disconnect import while_connected
from app.http.event_stream import EventStream
from app.http.health import HealthController
from app.http.limits_connections import SlowConnections
from app.http.limits_in_flight import InFlight
from app.http.opening import Opening
from app.http.problems import Problem
from app.http.refusals import EXCEPTION_HANDLERS
from app.overload import Admission, Load
from app.services.types import Scope

Message = dict[str, Any]
LARGE = 8_000_000


class Work:
    """What the routes do: it waits for the test. began, stopped: how many have begun and were cancelled."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.began = 0
        self.stopped = 0

    async def do(self) -> str:
        self.began += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        return "done"

    async def events(self) -> AsyncGenerator[bytes, None]:
        yield b"data: first\n\n"
        yield (await self.do()).encode()


def make_application(work: Work, admission: Admission, longest_s: float = 0) -> Litestar:
    """The routes: POST /search, /answer, /stream and /write, GET /read, /large and those of health."""

    @post("/search", scope=Scope.READ, status_code=200)
    async def search(request: Request[Any, Any, Any]) -> str:
        await request.body()
        return await while_connected(request, work.do())

    @post("/answer", scope=Scope.READ, load=Load.ANSWER, status_code=200)
    async def answer(request: Request[Any, Any, Any]) -> str:
        await request.body()
        return await while_connected(request, work.do())

    @post("/stream", scope=Scope.READ, load=Load.ANSWER, status_code=200)
    async def stream(request: Request[Any, Any, Any]) -> Stream:
        await request.body()
        events: EventStream[bytes] = EventStream(work.events(), bytes, _failure, heartbeat_s=10)
        return await events.respond()

    @post("/write", scope=Scope.WRITE, status_code=200)
    async def write(request: Request[Any, Any, Any]) -> int:
        return len(await request.body())

    @get("/read")
    async def read() -> str:
        return await work.do()

    @get("/large")
    async def large() -> bytes:
        return bytes(LARGE)

    deadlines, opening = Deadlines(longest_s), Opening(_nothing_to_open)
    state = {"opening": opening, "deadlines": deadlines, "slow_connections": SlowConnections()}
    return Litestar(
        [search, answer, stream, write, read, large, HealthController],
        middleware=[InFlight(admission), deadlines],
        exception_handlers=EXCEPTION_HANDLERS,
        lifespan=[opening.lifespan],
        state=State(state),
        logging_config=None,
    )


@asynccontextmanager
async def _nothing_to_open() -> AsyncIterator[Any]:
    yield object()


def _failure(problem: Problem) -> bytes:
    return f"event: error {problem.status} {problem.type}\n\n".encode()


class Caller:
    """One request, whose body and end the test sends part by part. sent: what the application answered."""

    def __init__(self, application: Litestar, path: str, method: str = "POST", **headers: str) -> None:
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        named = {"host": "127.0.0.1", **{name.replace("_", "-"): value for name, value in headers.items()}}
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"",
            "client": ("192.0.2.1", 1), "server": ("127.0.0.1", 8000), "state": {},
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        }  # fmt: skip
        self.task = asyncio.ensure_future(application(scope, self._incoming.get, self._send))  # type: ignore[arg-type]

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.vanish()  # a server says so too, once all is sent
        await asyncio.sleep(0)

    def body(self, part: bytes, more: bool = False) -> None:
        self._incoming.put_nowait({"type": "http.request", "body": part, "more_body": more})

    def vanish(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def status(self) -> int:
        """Wait for the end of the reply; its status."""
        await asyncio.wait_for(self.task, 10)
        status: int = self.sent[0]["status"]
        return status

    def header(self, name: str) -> str | None:
        pairs = self.sent[0]["headers"]
        return next((value.decode() for key, value in pairs if key.decode() == name), None)

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent[1:]).decode()
