"""What the service answers about conversations that a collection has kept."""

from datetime import datetime

from msgspec import Struct

from app.client.replies import AnswerStatus


class KeptCitation(Struct, frozen=True):
    """A footnote of an answer that was kept. quote: None when the document was deleted."""

    number: int
    document_id: str
    version: int
    start: int
    end: int
    quote: str | None
    title: str | None
    page: int | None


class Turn(Struct, frozen=True):
    """A question and its answer in a conversation. number: starts at 1."""

    number: int
    question: str
    question_used: str
    status: AnswerStatus
    answer: str | None
    citations: list[KeptCitation]
    release: int
    created_at: datetime


class Conversation(Struct, frozen=True):
    """A conversation that was kept, with its turns in their order."""

    id: int
    created_at: datetime
    updated_at: datetime
    turns: list[Turn]


class ConversationSummary(Struct, frozen=True):
    """A conversation in a list. title: its first question; turns: how many."""

    id: int
    title: str
    turns: int
    created_at: datetime
    updated_at: datetime


class Conversations(Struct, frozen=True):
    """Conversations, the latest first. next: the value of `after` for the next page; None on the last."""

    conversations: list[ConversationSummary]
    next: int | None
