"""The open service behind the routes: opened in the background, so that liveness answers at once."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from litestar import Litestar
from litestar.datastructures import State

from app.resources import Resources
from embeddings.errors import Overloaded

logger = logging.getLogger("footnote.http")

ResourcesOpener = Callable[[], AbstractAsyncContextManager[Resources]]


def log_failure(error: Exception) -> None:
    """Tell the log that the service cannot be opened."""
    logger.error("cannot open the database and models", exc_info=error)


class Opening:
    """Holds the resources from the moment they are open until the service stops.

    opener: opens and closes them. on_failure: called when they cannot be opened. leaving: set from the signal
    to stop on; what is in flight still has the resources.
    """

    def __init__(
        self,
        opener: ResourcesOpener,
        on_failure: Callable[[Exception], None] = log_failure,
    ) -> None:
        self._opener = opener
        self._on_failure = on_failure
        self._resources: Resources | None = None
        self._opened = asyncio.Event()
        self._stopping = asyncio.Event()
        self.leaving = asyncio.Event()

    @property
    def resources(self) -> Resources:
        """The open resources. Raises Overloaded before they are open."""
        if self._resources is None:
            raise Overloaded(
                "Footnote is still opening its database and models",
                next_step="try again when /health/ready says 200",
            )
        return self._resources

    @property
    def is_open(self) -> bool:
        """Whether the resources are there."""
        return self._resources is not None

    def check_ready(self) -> None:
        """Raise Overloaded when no new client should come: before the resources are open, and when the
        service is about to stop.
        """
        if self.leaving.is_set():
            raise stopping()
        self.resources  # noqa: B018  # raises while they are not open

    async def wait_until_ready(self) -> None:
        """Return as soon as the resources are open."""
        await self._opened.wait()

    @asynccontextmanager
    async def lifespan(self, _: Litestar) -> AsyncIterator[None]:
        """Open beside the running server; close after its last request."""
        task = asyncio.create_task(self._hold_open())
        try:
            yield
        finally:
            self._stopping.set()
            await task

    async def _hold_open(self) -> None:
        try:
            async with self._opener() as resources:
                self._resources = resources
                self._opened.set()
                await self._stopping.wait()
                self._resources = None
        except Exception as error:
            self._on_failure(error)


def stopping() -> Overloaded:
    """The answer to whoever comes, or is still here, when the service stops."""
    return Overloaded("the service is stopping", next_step="ask again when it has started")


def provide_resources(state: State) -> Resources:
    """Dependency: the open resources. Raises Overloaded before they are open."""
    opening: Opening = state.opening
    return opening.resources
