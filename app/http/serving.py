"""The HTTP server: uvicorn, with an end that lets what is in flight finish and an eye on slow connections."""

import asyncio
import socket

import uvicorn
from litestar import Litestar

from app.http.deadlines import Deadlines
from app.http.limits_connections import SlowConnections
from app.http.opening import Opening, stopping
from app.settings import Settings

# Between the moment when what is still in flight is told to end, and the moment when it is dropped.
LAST_WORDS_S = 2
_TICKS_A_SECOND = 10


class GracefulServer(uvicorn.Server):
    """Stops in this order: readiness says no; new requests are taken for a little while yet; then no
    connection is accepted, and what is in flight finishes; what has not done so in time is told that the
    service stops.

    A second signal ends it at once.
    """

    def __init__(self, application: Litestar, settings: Settings) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http="h11",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=settings.shutdown_timeout_s + LAST_WORDS_S,
            )
        )
        self._opening: Opening = application.state.opening
        self._deadlines: Deadlines = application.state.deadlines
        self._slow: SlowConnections = application.state.slow_connections
        self._settings = settings

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second while it serves."""
        if counter % _TICKS_A_SECOND == 0:
            self._slow.look(self.server_state.connections)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop, in order."""
        was_ready = self._opening.is_open
        self._opening.leaving.set()
        if was_ready:
            await self._give_notice()
        loop = asyncio.get_running_loop()
        end = loop.call_later(self._settings.shutdown_timeout_s, self._deadlines.end_all, stopping())
        try:
            await super().shutdown(sockets)
        finally:
            end.cancel()

    async def _give_notice(self) -> None:
        until = asyncio.get_running_loop().time() + self._settings.shutdown_notice_s
        while not self.force_exit and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110  # a signal
            await asyncio.sleep(1 / _TICKS_A_SECOND)
