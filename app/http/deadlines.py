"""Deadlines: work that is not done in time is stopped, and the client is told so.

A client asks for less time than the service gives with the header X-Request-Timeout-S. An answer that has
begun to stream is ended by an event of its own form; see EventStream.
"""

import asyncio
import math
from collections.abc import Awaitable
from contextvars import ContextVar

from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from app.http.limits_in_flight import load_of
from app.overload import Load
from embeddings.errors import DeadlineExceeded, FootnoteError, InvalidInput

HEADER = "X-Request-Timeout-S"
LONGEST_S = 86_400.0
_TIMED = frozenset({Load.SEARCH, Load.ANSWER})

_current: ContextVar["Deadline | None"] = ContextVar("deadline", default=None)


def current_deadline() -> "Deadline | None":
    """The deadline of the request that is being answered here; None where there is none."""
    return _current.get()


class Deadline:
    """The end of one request's time.

    seconds: from now; None: never by itself. error: why it is over; None while it is not.
    over: done as soon as it is over.
    """

    def __init__(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        self.error: FootnoteError | None = None
        self.over: asyncio.Future[None] = loop.create_future()
        self._timer = asyncio.timeout(None)
        self._answering = False
        self._alarm = None if seconds is None else loop.call_later(seconds, self._run_out, seconds)

    def end(self, error: FootnoteError) -> None:
        """Let the time be over now, for this reason. Work that has not begun to answer is cancelled."""
        if self.error is None:
            self.error = error
            self.over.set_result(None)
            if not self._answering:
                self._timer.reschedule(asyncio.get_running_loop().time())

    def _run_out(self, seconds: float) -> None:
        self.end(_too_late(seconds))

    async def bound(self, work: Awaitable[None]) -> None:
        """Do the work. Raises the reason when it was cancelled because its time is over."""
        try:
            async with self._timer:
                await work
        except TimeoutError:
            if self.error is None or not self._timer.expired():
                raise
            raise self.error from None
        finally:
            if self._alarm is not None:
                self._alarm.cancel()

    def note_answer(self) -> None:
        """The status line goes out: from now on only what answers can tell of an end."""
        self._answering = True
        if not self._timer.expired():
            self._timer.reschedule(None)


class Deadlines(ASGIMiddleware):
    """Gives each search, answer and text task its deadline.

    longest_s: the most that a request gets; 0: as long as it takes. exceeded: requests whose time was over.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._running: set[Deadline] = set()
        self.exceeded = 0

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass the request on. Raises DeadlineExceeded, and InvalidInput for a header that is no time."""
        if load_of(scope["route_handler"], scope["method"]) not in _TIMED:  # type: ignore[typeddict-item]
            await next_app(scope, receive, send)
            return
        deadline = Deadline(allowed_s(_header(scope), self._longest_s))

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                deadline.note_answer()
            await send(message)

        token = _current.set(deadline)
        self._running.add(deadline)
        try:
            await deadline.bound(next_app(scope, receive, tell))
        finally:
            self._running.discard(deadline)
            self.exceeded += isinstance(deadline.error, DeadlineExceeded)
            _current.reset(token)

    def end_all(self, error: FootnoteError) -> None:
        """Let the time of all that runs be over."""
        for deadline in tuple(self._running):
            deadline.end(error)


def allowed_s(asked: str | None, longest_s: float) -> float | None:
    """The seconds that a request gets: what it asks for, but no more than `longest_s`; None: no bound.

    longest_s: 0: no bound of the service's own. Raises InvalidInput for what is not a time.
    """
    if asked is None:
        return longest_s or None
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST_S:
        raise InvalidInput(
            f"{HEADER} is {asked!r}; it must be a number of seconds",
            field=HEADER,
            found=asked,
            expected=f"a number above 0, up to {LONGEST_S:.0f}",
            next_step="correct the header, or leave it out",
        )
    return min(seconds, longest_s) if longest_s else seconds


def _header(scope: Scope) -> str | None:
    wanted = HEADER.lower().encode()
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


def _too_late(seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the time for this request, {seconds:g} s, is over; the work was stopped",
        found=f"more than {seconds:g} s",
        expected=f"at most {seconds:g} s",
        next_step=f"ask for less, or give it more time with {HEADER} or FOOTNOTE_REQUEST_TIMEOUT_S",
    )
