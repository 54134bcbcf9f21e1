"""Releases: what a collection serves, served and may serve."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

# What people read, and write, where a release names no engine.
FAISS = "faiss"


class ReleaseState(StrEnum):
    """Where a release stands.

    building: its chunks and vectors are being made; ready: it passed its verification; failed: it did not;
    serving: it answers; previous: it answered before that, and is kept for a rollback; retired: it answered
    earlier still, and what only it needs may be pruned.
    """

    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"
    SERVING = "serving"
    PREVIOUS = "previous"
    RETIRED = "retired"


# What these need in SQL and in memory is kept.
KEPT_STATES = (ReleaseState.BUILDING, ReleaseState.READY, ReleaseState.SERVING, ReleaseState.PREVIOUS)
# What may be put in service. What a retired release needs may be pruned, so it does not come back.
PROMOTABLE_STATES = (ReleaseState.READY, ReleaseState.PREVIOUS)


@dataclass(frozen=True, slots=True)
class Release:
    """A chunking and an encoder under which a collection is, was or may be searched.

    number: starts at 1 in each collection. chunking: the name under which its chunks are stored.
    encoder: the model's folder, from the data folder on; None: the one that the settings name.
    model_id: of the encoder when the release was made; None: not known. report: what its verification
    measured. promoted_at: None when it never served. engine: that keeps its index, as `EngineAddress.shown`;
    None: FAISS.
    """

    id: int
    collection_id: int
    number: int
    state: ReleaseState
    chunk_max_tokens: int
    chunk_overlap_tokens: int
    chunking: str
    encoder: str | None
    model_id: str | None
    report: Mapping[str, Any] | None
    created_at: datetime
    promoted_at: datetime | None
    engine: str | None = None


def engine_name(release: Release) -> str:
    """What people read of the engine that keeps the release's index."""
    return release.engine or FAISS


def with_engine_named(release: Release) -> Release:
    """The release as it is shown outside: FAISS has a name there too."""
    return replace(release, engine=engine_name(release))


def chunking_name(max_tokens: int, overlap_tokens: int, tokenizer_hash: str | None = None) -> str:
    """The name under which chunks of these sizes are stored.

    tokenizer_hash: of the tokenizer that counts; None: the one of the encoder that the settings name.
    """
    name = f"tokens-{max_tokens}-{overlap_tokens}"
    return name if tokenizer_hash is None else f"{name}-{tokenizer_hash[:12]}"


@dataclass(frozen=True, slots=True)
class ReindexInput:
    """The release that is wanted; None keeps what the release in service has.

    encoder: a model's folder. engine: URL of the engine that shall keep its index, or `faiss`.
    """

    encoder: str | None = None
    chunk_max_tokens: int | None = None
    chunk_overlap_tokens: int | None = None
    engine: str | None = None


@dataclass(frozen=True, slots=True)
class GoldenQuery:
    """A question and the ids of the documents that have to be found for it."""

    id: int
    query: str
    document_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verification:
    """What was measured of a release before it may serve. reasons: why it may not; empty when it may.

    documents, chunks, vectors: in SQL; indexed: chunks in the index. recall_at_10: of the index's dense
    search against exact search, 0 to 1, over `queries` queries; None for an empty collection.
    golden_recall_at_10: share of the documents of the golden queries that are found, 0 to 1, with this
    release and with the one in service; None without golden queries.
    """

    documents: int
    chunks: int
    vectors: int
    indexed: int
    queries: int
    recall_at_10: float | None
    golden_queries: int
    golden_recall_at_10: float | None
    golden_recall_at_10_in_service: float | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many chunks, vectors, and indexes on engines were reclaimed."""

    chunks: int
    vectors: int
    indexes: int
