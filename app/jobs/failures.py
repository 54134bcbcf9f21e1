"""Failures as they are kept in the tables."""

import logging
from typing import Any

from embeddings.errors import (
    Conflict,
    FootnoteError,
    InvalidInput,
    ModelDamaged,
    NotFound,
    Overloaded,
    StorageFull,
    TooLarge,
    Unreadable,
    UnsupportedFormat,
)

logger = logging.getLogger("footnote.jobs")

_KINDS = (
    Conflict,
    FootnoteError,
    InvalidInput,
    ModelDamaged,
    NotFound,
    Overloaded,
    StorageFull,
    TooLarge,
    Unreadable,
    UnsupportedFormat,
)
_BY_CODE: dict[str, type[FootnoteError]] = {kind.code: kind for kind in _KINDS}
_DETAILS = ("field", "found", "expected", "next_step")


def record_failure(error: BaseException) -> dict[str, Any]:
    """The failure as JSON; one that nobody expected is logged here, and shown without its inside."""
    if isinstance(error, FootnoteError):
        details = {name: getattr(error, name) for name in _DETAILS}
        return {"code": error.code, "message": error.message, **details}
    logger.error("unexpected failure of a job", exc_info=error)
    return record_failure(
        FootnoteError(
            "Footnote failed in a way it did not expect; the log of the worker has the reason",
            next_step="try again; if it stays, report it with the time and the job",
        )
    )


def restore_failure(record: dict[str, Any] | None) -> FootnoteError | None:
    """The failure that was recorded; one of a kind without its own entry comes back as an InvalidInput
    or FootnoteError of the same words.
    """
    if record is None:
        return None
    kind = _BY_CODE.get(record["code"], InvalidInput)
    return kind(record["message"], **{name: record.get(name) for name in _DETAILS})
