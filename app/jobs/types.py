"""What is told of jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from embeddings.errors import FootnoteError


class JobState(StrEnum):
    """queued and running are active; the others have ended."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def active(self) -> bool:
        """True while a worker will do, or does, something about it."""
        return self in ACTIVE


ACTIVE = frozenset({JobState.QUEUED, JobState.RUNNING})


class ItemState(StrEnum):
    """What became of one file."""

    PENDING = "pending"
    DONE = "done"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Progress:
    """done of total, in units of `what`. total, eta_s (seconds to the end): None while unknown."""

    done: int = 0
    total: int | None = None
    what: str | None = None
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class ItemCounts:
    """How many items are in which state."""

    pending: int = 0
    done: int = 0
    error: int = 0


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job as it stands now. error: set exactly when it has failed; result: when it is done."""

    id: str
    kind: str
    collection: str | None
    input: Mapping[str, Any]
    state: JobState
    attempt: int
    progress: Progress
    items: ItemCounts
    result: Mapping[str, Any] | None
    error: FootnoteError | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, newest first. next: `after` of the next page; None on the last one."""

    jobs: tuple[JobInfo, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class ItemInfo:
    """One file of a job. result: documents, chunks and records that failed."""

    ordinal: int
    name: str
    state: ItemState
    result: Mapping[str, Any] | None
    error: FootnoteError | None


@dataclass(frozen=True, slots=True)
class ItemPage:
    """Items in their order. next: `after` of the next page; None on the last one."""

    items: tuple[ItemInfo, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant; None lets every value pass. among: the collections whose jobs may be seen."""

    state: JobState | None = None
    kind: str | None = None
    collection: str | None = None
    among: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """A file that is on the disk for a job. path: relative to the home folder."""

    name: str
    path: str
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be written down."""

    kind: str
    collection: str | None = None
    input: Mapping[str, Any] = field(default_factory=dict)
