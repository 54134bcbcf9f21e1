"""Replies for kept conversations."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from app.http.search_schemas import DocumentId, End, Start, Version
from app.services.conversation_types import Conversation, ConversationInfo, ConversationPage
from generation.types import AnswerStatus


class KeptCitationReply(Struct, frozen=True):
    """A footnote of a kept answer."""

    number: int
    document_id: DocumentId
    version: Version
    start: Start
    end: End
    quote: Annotated[str | None, Meta(description="The stored text; null when the document was deleted")]
    title: str | None
    page: Annotated[int | None, Meta(description="Page of a paged source; starts at 1")]


class TurnReply(Struct, frozen=True):
    """A question and its answer."""

    number: Annotated[int, Meta(description="Starts at 1")]
    question: str
    question_used: Annotated[str, Meta(description="What was searched: a follow-up is rewritten before")]
    status: AnswerStatus
    answer: Annotated[str | None, Meta(description="null unless the status is answered")]
    citations: list[KeptCitationReply]
    release: Annotated[int, Meta(description="Number of the release that was searched")]
    created_at: datetime


class ConversationSummary(Struct, frozen=True):
    """A conversation without its turns."""

    id: int
    title: Annotated[str, Meta(description="Its first question")]
    turns: Annotated[int, Meta(description="How many")]
    created_at: datetime
    updated_at: Annotated[datetime, Meta(description="Of the latest turn")]

    @classmethod
    def of(cls, info: ConversationInfo) -> "ConversationSummary":
        """The wire form."""
        return msgspec.convert(info, cls, from_attributes=True)


class ConversationReply(Struct, frozen=True):
    """A conversation with its turns, the oldest first."""

    id: int
    created_at: datetime
    updated_at: datetime
    turns: list[TurnReply]

    @classmethod
    def of(cls, found: Conversation) -> "ConversationReply":
        """The wire form."""
        turns = msgspec.convert(found.turns, list[TurnReply], from_attributes=True)
        return cls(found.info.id, found.info.created_at, found.info.updated_at, turns)


class ConversationList(Struct, frozen=True):
    """Conversations, the newest first. next: send it as `after` for the next page; null on the last one."""

    conversations: list[ConversationSummary]
    next: int | None

    @classmethod
    def of(cls, page: ConversationPage) -> "ConversationList":
        """The wire form."""
        return cls([ConversationSummary.of(each) for each in page.conversations], page.next)


class RemovedConversations(Struct, frozen=True):
    """How many conversations were deleted."""

    deleted: int
