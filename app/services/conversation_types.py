"""Kept conversations. Times are UTC."""

from dataclasses import dataclass
from datetime import datetime

from app.services.types import Principal, Scope
from generation.types import AnswerStatus, Citation


@dataclass(frozen=True, slots=True)
class Asker:
    """Whose conversations somebody may see.

    identity: kept with what he asks; None for callers without a name, who share theirs. sees_all: also those
    of others.
    """

    identity: str | None
    sees_all: bool = False

    @classmethod
    def of(cls, principal: Principal) -> "Asker":
        """Everybody sees his own; an administrator sees all."""
        return cls(principal.identity, principal.allows(Scope.ADMIN))


# The command line works on the data folder itself: nothing there is hidden from it. No key has this identity.
OPERATOR = Asker("command line", sees_all=True)


@dataclass(frozen=True, slots=True)
class KeptCitation:
    """A citation of a kept answer. quote: the text that stands there; None when the document was deleted."""

    number: int
    document_id: str
    version: int
    start: int
    end: int
    quote: str | None
    title: str | None
    page: int | None


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A question that was answered. question_used: what was searched, the same or a follow-up rewritten."""

    question: str
    question_used: str
    status: AnswerStatus
    answer: str | None
    citations: tuple[Citation, ...]
    release: int


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn as it is kept. number: starts at 1."""

    number: int
    question: str
    question_used: str
    status: AnswerStatus
    answer: str | None
    citations: tuple[KeptCitation, ...]
    release: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ConversationInfo:
    """A conversation without its turns. title: its first question."""

    id: int
    title: str
    turns: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation with its turns, the oldest first."""

    info: ConversationInfo
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class ConversationPage:
    """Conversations, the newest first. next: `after` of the next page; None on the last one."""

    conversations: tuple[ConversationInfo, ...]
    next: int | None
