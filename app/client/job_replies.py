"""What the service answers about jobs."""

from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from app.client.replies import Problem

ItemState = Literal["pending", "done", "error"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]


class Progress(Struct, frozen=True):
    """done of total, in units of what. eta_s: seconds to the end; None while unknown."""

    done: int
    total: int | None
    what: str | None
    eta_s: float | None


class ItemCounts(Struct, frozen=True):
    """How many items are in which state."""

    pending: int
    done: int
    error: int


class Job(Struct, frozen=True):
    """A job as it stood when the service answered. error: why it failed; result: what it made."""

    id: str
    kind: str
    collection: str | None
    state: JobState
    attempt: int
    progress: Progress
    items: ItemCounts
    result: dict[str, Any] | None
    error: Problem | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def active(self) -> bool:
        """True while a worker will do, or does, something about it."""
        return self.state in ("queued", "running")


class Jobs(Struct, frozen=True):
    """Jobs, newest first. next: the value of `after` for the next page; None on the last."""

    jobs: list[Job]
    next: str | None


class JobItem(Struct, frozen=True):
    """One file of a job. result: what it became; error: why it failed."""

    ordinal: int
    name: str
    state: ItemState
    result: dict[str, Any] | None
    error: Problem | None


class JobItems(Struct, frozen=True):
    """Items in their order. next: the value of `after` for the next page; None on the last."""

    items: list[JobItem]
    next: int | None
