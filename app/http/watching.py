"""What an application needs to be watched: its metrics, its figures, its traces and its query log."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from anyio import to_thread
from litestar import Litestar

from app.http.live import LimitReader, LiveReader
from app.http.observation import Observation
from app.http.opening import Opening
from app.telemetry.metrics import RequestMetrics
from app.telemetry.notes import Notes
from app.telemetry.tracing import open_tracing
from embeddings.errors import Overloaded


class Watching:
    """Of one application. Raises InvalidInput where traces are asked for without OpenTelemetry."""

    def __init__(self, version: str, opening: Opening, limits: LimitReader) -> None:
        self.metrics = RequestMetrics()
        self.live = LiveReader(version, limits)
        self._opening = opening
        self._tracing = open_tracing(os.environ, version)

    @asynccontextmanager
    async def lifespan(self, _: Litestar) -> AsyncIterator[None]:
        """Send the traces that wait, when the service stops."""
        yield
        if self._tracing is not None:
            await to_thread.run_sync(self._tracing.close)

    def around(self, application: Litestar) -> Litestar:
        """Watch every request of the application, those that fit no route too."""
        application.asgi_handler = Observation(
            application.asgi_handler, self.metrics, self._keep, self._tracing
        )
        return application

    def _keep(self, notes: Notes, request_id: str) -> None:
        if notes.asked:
            with suppress(Overloaded):  # the service has ended meanwhile
                self._opening.resources.query_log.keep(notes, request_id)
