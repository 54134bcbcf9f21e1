"""Feedback: kept with the document that it is about, listed, removed."""

from dataclasses import replace

from app.db.collections import find_collection
from app.db.engine import Database
from app.db.feedback import add_feedback, count_feedback, find_shown, list_feedback, remove_feedback
from app.db.releases import find_release, find_served
from app.services.feedback_types import Feedback, FeedbackInput, FeedbackKind, FeedbackPage
from app.services.metadata import check_text
from app.settings import Settings
from embeddings.errors import InvalidInput, NotFound, TooLarge

MAX_PAGE = 1000


class FeedbackService:
    """What people thought of what was found. It goes when its document or its collection goes."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def add(self, name: str, given: FeedbackInput) -> Feedback:
        """Keep a verdict; the same verdict again is kept once.

        Raises NotFound for the collection, the document, its version and the release, InvalidInput for the
        query and the span, TooLarge for a long query.
        """
        query = self._checked(given.query)
        async with self._database.write() as connection:
            collection, serving = await find_served(connection, name)
            shown = await find_shown(connection, collection, given.document_id, given.version)
            _check_span(given, shown.length)
            release = serving.number if given.release is None else given.release
            await find_release(connection, collection, release)
            return await add_feedback(connection, collection, shown, replace(given, query=query), release)

    async def list(
        self, name: str, limit: int = 100, after: int | None = None, kind: FeedbackKind | None = None
    ) -> FeedbackPage:
        """A page of the verdicts, the oldest first. Raises NotFound, InvalidInput."""
        if not 1 <= limit <= MAX_PAGE:
            raise _invalid("limit", str(limit), f"1 to {MAX_PAGE}")
        async with self._database.read() as connection:
            collection = await find_collection(connection, name)
            found = await list_feedback(connection, collection.id, limit + 1, after or 0, kind)
        page = tuple(found[:limit])
        return FeedbackPage(page, page[-1].id if len(found) > limit else None)

    async def counts(self, name: str) -> dict[FeedbackKind, int]:
        """How many verdicts of each kind the collection has; kinds that nobody gave are left out.

        Raises NotFound.
        """
        async with self._database.read() as connection:
            collection = await find_collection(connection, name)
            return await count_feedback(connection, collection.id)

    async def remove(self, name: str, feedback_id: int) -> None:
        """Remove a verdict. Raises NotFound."""
        async with self._database.write() as connection:
            collection = await find_collection(connection, name)
            if not await remove_feedback(connection, collection.id, [feedback_id]):
                raise NotFound(
                    f"the collection {name!r} has no feedback {feedback_id}",
                    field="id",
                    found=str(feedback_id),
                    expected="the id of a verdict",
                    next_step=f"footnote feedback list {name}",
                )

    def _checked(self, query: str) -> str:
        """The query without spaces at its ends."""
        most = self._settings.max_query_chars
        if len(query) > most:
            raise TooLarge(
                f"the query has {len(query)} characters; expected at most {most}",
                field="query",
                found=f"{len(query)} characters",
                expected=f"at most {most}",
                next_step="send the query as it was searched",
            )
        text = check_text(query, "query").strip()
        if not text:
            raise _invalid("query", "nothing", "what was asked")
        return text


def _check_span(given: FeedbackInput, length: int) -> None:
    start, end = given.start, given.end
    if start is None and end is None:
        return
    if start is None or end is None:
        missing, present = ("start", "end") if start is None else ("end", "start")
        raise _invalid(missing, f"{present} alone", "both start and end, or neither")
    if not 0 <= start < end <= length:
        expected = f"0 <= start < end <= {length}, the length of the text"
        raise _invalid("start", f"{start} to {end}", expected)


def _invalid(field: str, found: str, expected: str) -> InvalidInput:
    return InvalidInput(
        f"{field}: found {found}; expected {expected}", field=field, found=found, expected=expected
    )
