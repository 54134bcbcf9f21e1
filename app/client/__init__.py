"""A client for a running Footnote: `Footnote` waits for its replies, `AsyncFootnote` is awaited.

    from app.client import Footnote

    with Footnote("http://127.0.0.1:8000", key="fn_...") as footnote:
        reply = footnote.answer("notes", "When do I plant tomatoes?")

It needs httpx and msgspec only, and imports nothing of the service but its tree of errors.
"""

from app.client.asynchronous import AsyncFootnote
from app.client.call import File
from app.client.calls.documents import NewDocument
from app.client.failures import JobFailed, UnknownReply, Unreachable
from app.client.job_replies import Job
from app.client.replies import Answer, Citation, Delta, Found, Hit
from app.client.retries import RetryPolicy
from app.client.synchronous import Footnote
from embeddings.errors import (
    Conflict,
    DeadlineExceeded,
    FootnoteError,
    Forbidden,
    InvalidInput,
    NotFound,
    Overloaded,
    TooLarge,
    Unauthenticated,
    UnsupportedFormat,
)

__all__ = [
    "Answer",
    "AsyncFootnote",
    "Citation",
    "Conflict",
    "DeadlineExceeded",
    "Delta",
    "File",
    "Footnote",
    "FootnoteError",
    "Forbidden",
    "Found",
    "Hit",
    "InvalidInput",
    "Job",
    "JobFailed",
    "NewDocument",
    "NotFound",
    "Overloaded",
    "RetryPolicy",
    "TooLarge",
    "Unauthenticated",
    "UnknownReply",
    "Unreachable",
    "UnsupportedFormat",
]
