"""Feedback: what people thought of what was found."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class FeedbackKind(StrEnum):
    """What somebody did or said.

    click: opened the document; thumbs_up, thumbs_down: said that it helps, or not; accepted: took an answer
    that cites it.
    """

    CLICK = "click"
    THUMBS_UP = "thumbs_up"
    THUMBS_DOWN = "thumbs_down"
    ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True)
class FeedbackInput:
    """A verdict on a document that was found for a query.

    version: None, the current one; start, end: the span that was shown, in code points; None: the document as
    a whole; release: the number of the one that answered; None: the one in service.
    """

    query: str
    kind: FeedbackKind
    document_id: str
    version: int | None = None
    start: int | None = None
    end: int | None = None
    release: int | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """A verdict as it is kept."""

    id: int
    query: str
    kind: FeedbackKind
    document_id: str
    version: int
    start: int | None
    end: int | None
    release: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FeedbackPage:
    """Verdicts, the oldest first. next: `after` of the next page; None on the last one."""

    feedback: tuple[Feedback, ...]
    next: int | None
