"""What the function of a kind of job is given."""

import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from app.jobs.types import Progress

if TYPE_CHECKING:
    from app.resources import Resources

# Runs a step by its name, or gives what it returned in an earlier process.
StepRunner = Callable[[str, Callable[[], Awaitable[Any]]], Awaitable[Any]]


class JobCancelled(Exception):
    """The job was cancelled while its function worked, or went to another worker; the function should let it
    pass.
    """


class JobContext:
    """One attempt of a job at work.

    resources: the open service, without a decoder. collection: its name. input: what was asked for.
    """

    def __init__(
        self,
        resources: "Resources",
        job_id: str,
        attempt: int,
        collection: str | None,
        input: Mapping[str, Any],  # noqa: A002  the word of the interface
        run_step: StepRunner,
    ) -> None:
        self.resources = resources
        self.job_id = job_id
        self.attempt = attempt
        self.collection = collection
        self.input = input
        self._run_step = run_step
        self._cancelled = threading.Event()
        self._progress = Progress()
        self._began: tuple[float, int] | None = None

    def progress(self, done: int, total: int | None = None, what: str | None = None) -> None:
        """Tell how far the work is, as often as you like and from any thread; it is stored twice a second.

        what: the unit, in the plural. Time left is estimated from the pace of this attempt.
        """
        now = time.monotonic()
        if self._began is None or done < self._began[1] or what != self._progress.what:
            self._began = (now, done)
        self._progress = Progress(done, total, what, _time_left(self._began, now, done, total))

    def check_cancelled(self) -> None:
        """Raise JobCancelled when the job was cancelled. For work in threads: call it about once a second.

        What awaits is cancelled as an asyncio task by itself.
        """
        if self._cancelled.is_set():
            raise JobCancelled

    async def step(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do work that an attempt does not repeat once it was done, also in another process.

        Steps have to come in the same order each time. work returns JSON values, and has to bear being done
        twice: a kill may come after its last act and before it was noted as done.
        """
        self.check_cancelled()
        return await self._run_step(name, work)

    @property
    def latest_progress(self) -> Progress:
        """What was told last."""
        return self._progress

    def cancel(self) -> None:
        """Let `check_cancelled` raise from now on."""
        self._cancelled.set()


def _time_left(began: tuple[float, int], now: float, done: int, total: int | None) -> float | None:
    """Seconds to the end at the average pace since began, which is (time, done)."""
    seconds, gained = now - began[0], done - began[1]
    if total is None or gained <= 0:
        return None
    return round(seconds / gained * max(total - done, 0), 1)
