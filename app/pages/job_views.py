"""What the pages show of a job. Texts are English msgids here; the templates translate them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.http.problems import Problem, problem_of
from app.jobs.reindexing import REINDEX
from app.jobs.service import INGEST_FILES, TRAIN
from app.jobs.snapshot import SNAPSHOT
from app.jobs.types import ItemInfo, ItemState, JobInfo, JobState, Progress

KINDS = {
    INGEST_FILES: "Adding files",
    REINDEX: "Reindex",
    SNAPSHOT: "Snapshot",
    TRAIN: "Train the encoder",
}
STATES = {
    JobState.QUEUED: "waiting",
    JobState.RUNNING: "running",
    JobState.DONE: "done",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}
ITEM_STATES = {ItemState.PENDING: "waiting", ItemState.DONE: "done", ItemState.ERROR: "failed"}
# What a training tells with its progress, by the names of `training.siamese.run`.
STAGES = {
    "prepare": "Preparing the examples",
    "pretrain": "Pre-training on the documents",
    "mine": "Looking for hard negatives",
    "train": "Training",
    "export": "Writing the model",
    "judge": "Comparing with the encoder in service",
}
# What is counted, where people understand it in their own language; other words stay as they are.
UNITS = (
    "files",
    "documents",
    "documents read",
    "chunks",
    "steps",
    "searches",
    "query vectors",
    "passage vectors",
    "queries",
    "pairs",
    "models",
    "passages",
    "examples cleaned",
    "passages with queries",
    "bytes written",
    "writes indexed",
)
_STAGED = re.compile(r"(?:.*: )?(?P<unit>[^:]+) \((?P<stage>[a-z]+)(?:-\d+)?\)")


@dataclass(frozen=True, slots=True)
class ProgressView:
    """done of total, in words of `unit`. percent: 0 to 100; None while the end is not known.

    stage: what is being done, for work of several stages.
    """

    done: int
    total: int | None
    percent: int | None
    unit: str | None
    stage: str | None
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class JobView:
    """A job on a page. duration_s: of this attempt, until now or its end; None before it began."""

    id: str
    kind: str
    label: str
    state: str
    state_label: str
    active: bool
    collection: str | None
    attempt: int
    progress: ProgressView
    pending: int
    done: int
    errors: int
    duration_s: float | None
    created_at: datetime
    ended_at: datetime | None
    error: Problem | None
    result: Mapping[str, Any]
    asked: Mapping[str, Any]

    @property
    def items(self) -> int:
        """How many files the job has; 0 for jobs without."""
        return self.pending + self.done + self.errors

    @property
    def can_cancel(self) -> bool:
        """Whether there is something to stop."""
        return self.active

    @property
    def can_resume(self) -> bool:
        """Whether it stopped before its end."""
        return self.state in {JobState.CANCELLED, JobState.FAILED}

    @property
    def can_retry(self) -> bool:
        """Whether it ended with items that failed."""
        return not self.active and self.errors > 0

    @property
    def trains(self) -> bool:
        """Whether it has a training's report."""
        return self.kind == TRAIN

    @classmethod
    def of(cls, job: JobInfo, now: datetime | None = None) -> "JobView":
        """now: the present moment, UTC."""
        return cls(
            id=job.id,
            kind=job.kind,
            label=KINDS.get(job.kind, job.kind),
            state=job.state.value,
            state_label=STATES[job.state],
            active=job.state.active,
            collection=job.collection,
            attempt=job.attempt,
            progress=_progress(job),
            pending=job.items.pending,
            done=job.items.done,
            errors=job.items.error,
            duration_s=_duration_s(job, datetime.now(UTC) if now is None else now),
            created_at=job.created_at,
            ended_at=job.ended_at,
            error=None if job.error is None else problem_of(job.error),
            result=job.result or {},
            asked=job.input,
        )


@dataclass(frozen=True, slots=True)
class ItemView:
    """One file of a job. documents, chunks: None until it was read."""

    ordinal: int
    name: str
    state: str
    state_label: str
    documents: int | None
    chunks: int | None
    records_failed: int
    error: Problem | None

    @classmethod
    def of(cls, item: ItemInfo) -> "ItemView":
        """The view of an item."""
        result = item.result or {}
        return cls(
            ordinal=item.ordinal,
            name=item.name,
            state=item.state.value,
            state_label=ITEM_STATES[item.state],
            documents=result.get("documents"),
            chunks=result.get("chunks"),
            records_failed=result.get("errors", 0),
            error=None if item.error is None else problem_of(item.error),
        )


def _progress(job: JobInfo) -> ProgressView:
    told = job.progress
    unit, stage = _said(told.what)
    return ProgressView(
        done=told.done,
        total=told.total,
        percent=_percent(job.state, told),
        unit=unit,
        stage=stage,
        eta_s=told.eta_s if job.state is JobState.RUNNING else None,
    )


def _percent(state: JobState, told: Progress) -> int | None:
    """Rounded down, so that nothing is said to be done before it is."""
    if state is JobState.DONE:
        return 100
    return min(100 * told.done // told.total, 100) if told.total else None


def _said(what: str | None) -> tuple[str | None, str | None]:
    """Unit and stage out of "held-out, old encoder: passages (judge)"."""
    staged = _STAGED.fullmatch(what or "")
    if staged is None:
        return what, None
    return staged["unit"], STAGES.get(staged["stage"], staged["stage"])


def _duration_s(job: JobInfo, now: datetime) -> float | None:
    if job.started_at is None:
        return None
    return max(((job.ended_at or now) - job.started_at).total_seconds(), 0.0)
