"""Requests and replies for collections.

Requests forbid unknown fields, so that a typing mistake is never silently ignored. Bounds are checked by the
services, which the command line uses too.
"""

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from app.http.search_schemas import FusionFields
from app.services.types import CollectionSettings
from generation.causal.prompt_template import PromptTemplate


class ChunkingFields(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of a collection. What is left out keeps its value."""

    chunk_max_tokens: Annotated[
        int | UnsetType,
        Meta(description="Longest chunk, in the encoder's tokens; with documents, a reindex changes it"),
    ] = UNSET
    chunk_overlap_tokens: Annotated[
        int | UnsetType,
        Meta(description="What neighbouring chunks share, in tokens; less than the longest chunk"),
    ] = UNSET
    refusal_threshold: Annotated[
        float | UnsetType | None,
        Meta(
            description="Probability from 0 to 1 below which an answer is withheld; null: the decoder's own"
        ),
    ] = UNSET
    fusion: Annotated[
        FusionFields | UnsetType | None,
        Meta(description="Of hybrid searches that name none; null: evidence, with full trust in both sides"),
    ] = UNSET

    prompt: Annotated[
        PromptTemplate | UnsetType | None,
        Meta(description="For decoders that chat; null: the shipped one in the question's language"),
    ] = UNSET
    keep_conversations: Annotated[
        bool | UnsetType, Meta(description="Keep questions and answers, until they are deleted")
    ] = UNSET

    def applied_to(self, settings: CollectionSettings) -> CollectionSettings:
        """The settings with the given fields changed."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        if isinstance(self.fusion, FusionFields):
            given["fusion"] = self.fusion.to_fusion()
        return replace(settings, **{name: value for name, value in given.items() if value is not UNSET})


class NewCollection(Struct, frozen=True, forbid_unknown_fields=True):
    """A collection to be made."""

    name: Annotated[str, Meta(description="^[a-z0-9][a-z0-9_-]{0,63}$", examples=["handbook"])]
    settings: ChunkingFields = ChunkingFields()


class CollectionChange(Struct, frozen=True, forbid_unknown_fields=True):
    """New settings of a collection."""

    settings: ChunkingFields


class SettingsReply(Struct, frozen=True):
    """How a collection is chunked, searched and answered from."""

    chunk_max_tokens: int
    chunk_overlap_tokens: int
    refusal_threshold: float | None
    fusion: FusionFields | None
    prompt: PromptTemplate | None
    keep_conversations: bool


class CollectionReply(Struct, frozen=True):
    """A collection with its counts. last_seq: number of its latest write."""

    name: str
    settings: SettingsReply
    documents: int
    chunks: int
    last_seq: int
    created_at: datetime
    updated_at: datetime
    engine: Annotated[
        str, Meta(description="What keeps its index: faiss, or the URL of an engine", examples=["faiss"])
    ]


class CollectionList(Struct, frozen=True):
    """All collections, by name."""

    collections: list[CollectionReply]
