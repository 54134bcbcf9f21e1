"""Requests and replies for releases and golden queries."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from app.http.job_schemas import JobReply
from app.jobs.types import JobInfo
from app.services.release_types import GoldenQuery, ReindexInput, Release, ReleaseState, with_engine_named


class ReindexRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The release that is wanted. What is left out stays as it is in the release in service."""

    encoder: Annotated[
        str | None,
        Meta(description="A model's folder on the server, or its name under models/ in the data folder"),
    ] = None
    chunk_max_tokens: Annotated[
        int | None, Meta(description="Longest chunk, in the encoder's tokens, from 16")
    ] = None
    chunk_overlap_tokens: Annotated[
        int | None, Meta(description="What neighbouring chunks share, in tokens; at most half of the longest")
    ] = None
    engine: Annotated[
        str | None,
        Meta(
            description="What shall keep the index: faiss, or a URL of FOOTNOTE_INDEX_URL without user and "
            "password",
            examples=["postgresql"],
        ),
    ] = None
    promote: Annotated[
        bool, Meta(description="Put the release in service when it passes its verification")
    ] = True

    def to_input(self) -> ReindexInput:
        """The same for the service."""
        return ReindexInput(self.encoder, self.chunk_max_tokens, self.chunk_overlap_tokens, self.engine)


class ReleaseReply(Struct, frozen=True):
    """A release of a collection. encoder: null, the one that the settings name; report: what its
    verification measured.
    """

    number: int
    state: ReleaseState
    chunk_max_tokens: int
    chunk_overlap_tokens: int
    encoder: str | None
    model_id: Annotated[str | None, Meta(description="Of the encoder when the release was made")]
    report: dict[str, Any] | None
    created_at: datetime
    promoted_at: datetime | None
    engine: Annotated[
        str, Meta(description="What keeps its index: faiss, or the URL of an engine", examples=["faiss"])
    ]

    @classmethod
    def of(cls, release: Release) -> "ReleaseReply":
        """The reply for one release."""
        return msgspec.convert(with_engine_named(release), cls, from_attributes=True)


class ReleaseList(Struct, frozen=True):
    """The releases of a collection, the latest first."""

    releases: list[ReleaseReply]


class ReindexReply(Struct, frozen=True):
    """The release that is being made, and the job that makes it."""

    release: ReleaseReply
    job: JobReply

    @classmethod
    def of(cls, release: Release, job: JobInfo) -> "ReindexReply":
        """The reply for what was begun."""
        return cls(ReleaseReply.of(release), JobReply.of(job))


class PruneReply(Struct, frozen=True):
    """How many chunks, vectors of chunks that stay, and indexes on engines were reclaimed."""

    chunks: int
    vectors: int
    indexes: int


class NewGoldenQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """A question whose right documents are known."""

    query: Annotated[str, Meta(description="The question", examples=["when to plant tomatoes"])]
    document_ids: Annotated[
        list[str], Meta(description="Ids of the documents that have to be found", examples=[["tomatoes.md"]])
    ]


class GoldenReply(Struct, frozen=True):
    """A golden query."""

    id: int
    query: str
    document_ids: list[str]

    @classmethod
    def of(cls, golden: GoldenQuery) -> "GoldenReply":
        """The reply for one golden query."""
        return cls(golden.id, golden.query, list(golden.document_ids))


class GoldenList(Struct, frozen=True):
    """The golden queries of a collection, in the order of their making."""

    golden_queries: list[GoldenReply]
