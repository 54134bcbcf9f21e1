"""Keeps the collection `guide` equal to app/guide, so that a newcomer has something true to ask."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.services.types import CollectionSettings, FileInput, ItemResult
from embeddings.errors import Conflict, FootnoteError, NotFound

if TYPE_CHECKING:
    from app.services.collections import CollectionService
    from app.services.documents import DocumentService

GUIDE_COLLECTION = "guide"
GUIDE_FOLDER = Path(__file__).parent / "guide"
# Only pages that were loaded from here are ever removed; a document that someone added to `guide` stays.
GUIDE_METADATA = {"source": "footnote-guide"}
PAGE_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class LoadedGuide:
    """What a load has done. removed: ids of pages that are no longer in the folder."""

    pages: tuple[ItemResult, ...]
    removed: tuple[str, ...]


def read_pages(folder: Path = GUIDE_FOLDER) -> Iterator[FileInput]:
    """The pages of the guide in the order of their names."""
    for path in sorted(folder.glob("*.md")):
        yield FileInput(path.name, path.read_bytes(), id=path.name, metadata=GUIDE_METADATA)


async def load_guide(
    collections: "CollectionService", documents: "DocumentService", folder: Path = GUIDE_FOLDER
) -> LoadedGuide:
    """Load changed pages, remove lost ones; unchanged ones cost no encoding.

    Raises FootnoteError when a page could not be loaded: the installation is at fault then.
    """
    await _ensure_collection(collections)
    pages = list(read_pages(folder))
    results = tuple(await documents.add_files(GUIDE_COLLECTION, pages))
    for result in results:
        if result.error is not None:
            raise FootnoteError(
                f"the guide's page {result.id} could not be loaded: {result.error.message}",
                next_step="start with --no-guide, or install Footnote again",
            )
    removed = await _remove_lost(documents, {page.filename for page in pages})
    return LoadedGuide(results, removed)


async def _ensure_collection(collections: "CollectionService") -> None:
    try:
        await collections.get(GUIDE_COLLECTION)
    except NotFound:
        with suppress(Conflict):  # another process was quicker
            await collections.create(GUIDE_COLLECTION, CollectionSettings())


async def _remove_lost(documents: "DocumentService", present: Collection[str]) -> tuple[str, ...]:
    page = await documents.list(GUIDE_COLLECTION, limit=PAGE_LIMIT, after=None)
    lost = tuple(
        each.id for each in page.documents if each.id not in present and dict(each.metadata) == GUIDE_METADATA
    )
    if lost:
        await documents.delete_where(GUIDE_COLLECTION, ids=lost)
    return lost
