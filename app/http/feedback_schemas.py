"""Requests and replies for feedback. Offsets are Unicode code points."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from app.http.search_schemas import DocumentId
from app.services.feedback_types import Feedback, FeedbackInput, FeedbackKind, FeedbackPage


class NewFeedback(Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody thought of a document that was found."""

    query: Annotated[str, Meta(description="What was asked", examples=["when to plant tomatoes"])]
    kind: Annotated[
        FeedbackKind,
        Meta(description="click: opened it; thumbs_up, thumbs_down; accepted: took an answer that cites it"),
    ]
    document_id: DocumentId
    version: Annotated[
        int | None, Meta(description="Version that was shown; the current one when left out")
    ] = None
    start: Annotated[
        int | None, Meta(description="First code point of what was shown; the whole document when left out")
    ] = None
    end: Annotated[int | None, Meta(description="One past the last code point of what was shown")] = None
    release: Annotated[
        int | None, Meta(description="`release` of the reply that showed it; the one in service if left out")
    ] = None

    def to_input(self) -> FeedbackInput:
        """The same for the service."""
        return msgspec.convert(self, FeedbackInput, from_attributes=True)


class FeedbackReply(Struct, frozen=True):
    """A verdict as it is kept. start, end: null for the document as a whole."""

    id: int
    query: str
    kind: FeedbackKind
    document_id: str
    version: int
    start: int | None
    end: int | None
    release: int
    created_at: datetime

    @classmethod
    def of(cls, feedback: Feedback) -> "FeedbackReply":
        """The wire form."""
        return msgspec.convert(feedback, cls, from_attributes=True)


class FeedbackList(Struct, frozen=True):
    """Verdicts, the oldest first. next: send it as `after` for the next page; null on the last one."""

    feedback: list[FeedbackReply]
    next: int | None

    @classmethod
    def of(cls, page: FeedbackPage) -> "FeedbackList":
        """The wire form."""
        return cls([FeedbackReply.of(each) for each in page.feedback], page.next)
