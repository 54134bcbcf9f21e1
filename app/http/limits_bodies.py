"""The body of one request on its way in: it has to keep coming, and all bodies together are bounded."""

import asyncio
import time
from typing import Any

from litestar.types import Receive, Scope

from app.http.disconnect import ClientGone
from app.http.problems import BodyTooSlow
from app.overload import Gate

# The whole of a small body; each KiB more buys a larger one a second.
BODY_GRACE_S = 30.0
MIN_BYTES_PER_S = 1024


class IncomingBody:
    """Receives for one request, and is called in place of the server's `receive`.

    complete: whether all of the body is here, as it is from the beginning for a request without one. held:
    bytes of the body that have come so far, which are counted in `bodies` until `release`.
    """

    def __init__(self, scope: Scope, receive: Receive, bodies: Gate, place: "Place") -> None:
        self.complete = not _has_body(scope)
        self.held = 0
        self._receive = receive
        self._bodies = bodies
        self._place = place
        self._began = time.monotonic()

    async def __call__(self) -> Any:
        """The next message.

        Raises BodyTooSlow, Overloaded when it does not fit in, and ClientGone when the rest will never come.
        """
        if self.complete:
            return await self._receive()
        message = await self._within_time()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._hold(len(message.get("body", b"")))
        if not message.get("more_body", False):
            self.complete = True
            self._place.take()
        return message

    def release(self) -> None:
        """The request is over; its bytes count no more."""
        if self.held:
            self._bodies.leave(self._began, self.held)
            self.held = 0

    def _hold(self, count: int) -> None:
        if count:
            self._bodies.enter(count)
            self.held += count

    async def _within_time(self) -> Any:
        allowed_s = BODY_GRACE_S + self.held / MIN_BYTES_PER_S
        timer = asyncio.timeout(max(0.0, self._began + allowed_s - time.monotonic()))
        try:
            async with timer:
                return await self._receive()
        except TimeoutError:
            if not timer.expired():
                raise
            raise BodyTooSlow(
                f"the body did not come within {allowed_s:.0f} s",
                field="body",
                found=f"{self.held} bytes in {allowed_s:.0f} s",
                expected=f"all of it within {BODY_GRACE_S:.0f} s, or {MIN_BYTES_PER_S} bytes a second",
                next_step="send it again over a faster connection, or in smaller requests",
            ) from None


class Place:
    """The place of one request behind a gate: taken when its work can begin, given back when it is over."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._entered: float | None = None

    def take(self) -> None:
        """Go in. Raises Overloaded."""
        self._entered = self._gate.enter()

    def give_back(self) -> None:
        """Go out, if it went in."""
        if self._entered is not None:
            self._gate.leave(self._entered)
            self._entered = None


def _has_body(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0"):
            return True
    return False
