"""Releases, golden queries, feedback and trainings, for administrators."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from app.client.admin_replies import (
    FeedbackList,
    GoldenQueries,
    GoldenQuery,
    Pruned,
    Reindexing,
    Release,
    Releases,
    Stats,
    TrainingReport,
)
from app.client.call import Call, File, Form, given, segment
from app.client.calls.documents import AnyFile
from app.client.job_replies import Job
from app.client.replies import FeedbackKind, Promotion


def reindex(
    collection: str,
    *,
    encoder: str | None = None,
    chunk_max_tokens: int | None = None,
    chunk_overlap_tokens: int | None = None,
    engine: str | None = None,
    promote: bool | None = None,
) -> Call[Reindexing]:
    """Make a release with another encoder, other chunks or another index engine in a job, while the one in
    service serves on.
    """
    body = given(
        encoder=encoder, chunk_max_tokens=chunk_max_tokens, chunk_overlap_tokens=chunk_overlap_tokens,
        engine=engine, promote=promote,
    )  # fmt: skip
    return Call("POST", _path(collection, "/reindex"), Reindexing, body=body)


def list_releases(collection: str) -> Call[Releases]:
    """What the collection serves, served and may serve, the latest first."""
    return Call("GET", _path(collection, "/releases"), Releases)


def get_release(collection: str, number: int) -> Call[Release]:
    """One release with the report of its verification."""
    return Call("GET", _path(collection, f"/releases/{number}"), Release)


def promote_release(collection: str, number: int) -> Call[Release]:
    """Put a release that is ready in service."""
    return Call("POST", _path(collection, f"/releases/{number}/promote"), Release)


def roll_back(collection: str) -> Call[Release]:
    """Put the previous release in service again, with all that was written since."""
    return Call("POST", _path(collection, "/rollback"), Release)


def prune_releases(collection: str) -> Call[Pruned]:
    """Reclaim what only retired and failed releases needed."""
    return Call("POST", _path(collection, "/prune"), Pruned)


def list_golden_queries(collection: str) -> Call[GoldenQueries]:
    """All golden queries of a collection."""
    return Call("GET", _path(collection, "/golden-queries"), GoldenQueries)


def add_golden_query(collection: str, query: str, document_ids: Sequence[str]) -> Call[GoldenQuery]:
    """Keep a question with the documents that have to be found."""
    body = {"query": query, "document_ids": document_ids}
    return Call("POST", _path(collection, "/golden-queries"), GoldenQuery, body=body)


def remove_golden_query(collection: str, golden_id: int) -> Call[None]:
    """Remove one golden query."""
    return Call("DELETE", _path(collection, f"/golden-queries/{golden_id}"), type(None))


def list_feedback(
    collection: str, *, kind: FeedbackKind | None = None, limit: int | None = None, after: int | None = None
) -> Call[FeedbackList]:
    """One page of verdicts, the oldest first. after: `next` of the page before."""
    query = {"kind": kind, "limit": limit, "after": after}
    return Call("GET", _path(collection, "/feedback"), FeedbackList, query)


def remove_feedback(collection: str, feedback_id: int) -> Call[None]:
    """Remove one verdict."""
    return Call("DELETE", _path(collection, f"/feedback/{feedback_id}"), type(None))


def train(
    collection: str,
    *,
    name: str | None = None,
    promote: Promotion | None = None,
    dry_run: bool | None = None,
    plan: Mapping[str, Any] | None = None,
    files: Iterable[AnyFile] = (),
) -> Call[Job]:
    """Train a better encoder on the collection's documents and feedback in a job.

    files: of examples, as JSONL, CSV, TSV or Parquet; plan: what shall not be as usual; promote: `gate` puts
    a better model in service by itself.
    """
    body = given(name=name, promote=promote, dry_run=dry_run, plan=plan)
    examples = [file if isinstance(file, File) else File.at(file) for file in files]
    if not examples:
        return Call("POST", _path(collection, "/train"), Job, body=body)
    form = Form(examples, {"request": msgspec.json.encode(body).decode()})
    return Call("POST", _path(collection, "/train/files"), Job, form=form)


def training_report(collection: str, job_id: str) -> Call[TrainingReport]:
    """The plan, the loss curves and the verdict of a training."""
    return Call("GET", _path(collection, f"/train/{segment(job_id)}/report"), TrainingReport)


def get_stats() -> Call[Stats]:
    """How the service does."""
    return Call("GET", "/v1/admin/stats", Stats)


def _path(collection: str, rest: str) -> str:
    return f"/v1/admin/collections/{segment(collection)}{rest}"
