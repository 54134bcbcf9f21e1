"""What the pages show of documents and of files that came in."""

from collections.abc import Iterable
from dataclasses import dataclass

from app.http.problems import Problem, problem_of
from app.services.documents import DocumentService
from app.services.types import DocumentInfo, DocumentPage, ItemResult, ItemStatus
from embeddings.errors import NotFound

PAGE = 25
# A file of ten thousand broken records has one reason, told often enough.
SHOWN_ERRORS = 20
STATUSES = {
    ItemStatus.CREATED: "added",
    ItemStatus.UPDATED: "updated",
    ItemStatus.UNCHANGED: "unchanged",
    ItemStatus.ERROR: "failed",
}


@dataclass(frozen=True, slots=True)
class RecordError:
    """A document of a file that was not taken in, and why. id: None where it has none."""

    id: str | None
    problem: Problem


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """What became of a file. id: of its document; None for a file of many. more_errors: not shown."""

    name: str
    created: int
    updated: int
    unchanged: int
    chunks: int
    truncated: int
    errors: tuple[RecordError, ...]
    more_errors: int
    id: str | None

    @property
    def taken(self) -> int:
        """How many documents of the file are in the collection now."""
        return self.created + self.updated + self.unchanged

    @property
    def failed(self) -> int:
        """How many were not taken in."""
        return len(self.errors) + self.more_errors

    @property
    def status_label(self) -> str:
        """In a word, for a file that is one document."""
        if not self.taken:
            return STATUSES[ItemStatus.ERROR]
        told = (self.created, ItemStatus.CREATED), (self.updated, ItemStatus.UPDATED)
        return STATUSES[next((status for count, status in told if count), ItemStatus.UNCHANGED)]

    @classmethod
    def of(cls, name: str, results: Iterable[ItemResult]) -> "UploadedFile":
        """The view of the results of one file."""
        found = list(results)
        counts = {status: sum(each.status is status for each in found) for status in ItemStatus}
        failed = [RecordError(each.id, problem_of(each.error)) for each in found if each.error is not None]
        return cls(
            name=name,
            created=counts[ItemStatus.CREATED],
            updated=counts[ItemStatus.UPDATED],
            unchanged=counts[ItemStatus.UNCHANGED],
            chunks=sum(each.chunks or 0 for each in found),
            truncated=sum(each.truncated for each in found),
            errors=tuple(failed[:SHOWN_ERRORS]),
            more_errors=len(failed[SHOWN_ERRORS:]),
            id=found[0].id if len(found) == 1 and not failed else None,
        )


async def first_documents(documents: DocumentService, collection: str, start: str | None) -> DocumentPage:
    """Documents from an id on: that document if there is one, and those behind it. Raises NotFound for the
    collection.
    """
    listed = await documents.list(collection, PAGE, start or None)
    if not start:
        return listed
    try:
        found: tuple[DocumentInfo, ...] = (await documents.get(collection, start),)
    except NotFound:
        found = ()
    return DocumentPage((*found, *listed.documents), listed.next)
