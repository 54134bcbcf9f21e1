"""Requests and replies for jobs."""

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from app.http.problems import Problem, problem_of
from app.jobs.types import ItemInfo, ItemPage, ItemState, JobInfo, JobPage, JobState


class NewSnapshot(Struct, frozen=True, forbid_unknown_fields=True):
    """A snapshot to be written."""

    name: Annotated[
        str, Meta(description="Name of the file in the folder `snapshots` of the data folder; a new one")
    ]


class ProgressReply(Struct, frozen=True):
    """done of total, in units of what. eta_s: seconds to the end; null while unknown."""

    done: int
    total: int | None
    what: str | None
    eta_s: float | None


class ItemCountsReply(Struct, frozen=True):
    """How many items are in which state; all 0 for jobs without items."""

    pending: int
    done: int
    error: int


class JobReply(Struct, frozen=True):
    """A job as it stands now. error: why it failed; result: what it made."""

    id: str
    kind: str
    collection: str | None
    state: JobState
    attempt: int
    progress: ProgressReply
    items: ItemCountsReply
    result: dict[str, Any] | None
    error: Problem | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @classmethod
    def of(cls, job: JobInfo) -> "JobReply":
        """The wire form."""
        progress, items = job.progress, job.items
        return cls(
            id=job.id,
            kind=job.kind,
            collection=job.collection,
            state=job.state,
            attempt=job.attempt,
            progress=ProgressReply(progress.done, progress.total, progress.what, progress.eta_s),
            items=ItemCountsReply(items.pending, items.done, items.error),
            result=None if job.result is None else dict(job.result),
            error=None if job.error is None else problem_of(job.error),
            created_at=job.created_at,
            started_at=job.started_at,
            ended_at=job.ended_at,
        )


class JobList(Struct, frozen=True):
    """Jobs, newest first. next: send it as `after` for the next page; null on the last one."""

    jobs: list[JobReply]
    next: str | None

    @classmethod
    def of(cls, page: JobPage) -> "JobList":
        """The wire form."""
        return cls([JobReply.of(job) for job in page.jobs], page.next)


class JobItemReply(Struct, frozen=True):
    """One file of a job. result: documents, unchanged, chunks and errors, once it was read."""

    ordinal: int
    name: str
    state: ItemState
    result: dict[str, Any] | None
    error: Problem | None

    @classmethod
    def of(cls, item: ItemInfo) -> "JobItemReply":
        """The wire form."""
        result = None if item.result is None else dict(item.result)
        error = None if item.error is None else problem_of(item.error)
        return cls(item.ordinal, item.name, item.state, result, error)


class JobItemList(Struct, frozen=True):
    """Items in their order. next: send it as `after` for the next page; null on the last one."""

    items: list[JobItemReply]
    next: int | None

    @classmethod
    def of(cls, page: ItemPage) -> "JobItemList":
        """The wire form."""
        return cls([JobItemReply.of(item) for item in page.items], page.next)
