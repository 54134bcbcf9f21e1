"""The collection `guide` follows the folder of the guide."""

from pathlib import Path

import pytest

from app.guide_loader import GUIDE_COLLECTION, load_guide
from app.resources import Resources
from app.services.types import DocumentInput, ItemStatus
from embeddings.errors import FootnoteError


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "guide"
    folder.mkdir()
    (folder / "index.md").write_text("# What it is\n\nA search service.\n")
    (folder / "search.md").write_text("# Search\n\nThere are three modes.\n")
    return folder


async def load(resources: Resources, folder: Path) -> list[ItemStatus]:
    loaded = await load_guide(resources.collections, resources.documents, folder)
    return [page.status for page in loaded.pages]


async def document_ids(resources: Resources) -> list[str]:
    return [document.id for document in (await resources.documents.list(GUIDE_COLLECTION)).documents]


async def test_first_load_makes_the_collection(resources: Resources, pages: Path) -> None:
    assert await load(resources, pages) == [ItemStatus.CREATED, ItemStatus.CREATED]
    assert await document_ids(resources) == ["index.md", "search.md"]


async def test_only_changed_pages_are_written_again(resources: Resources, pages: Path) -> None:
    await load(resources, pages)
    before = await resources.collections.get(GUIDE_COLLECTION)
    assert await load(resources, pages) == [ItemStatus.UNCHANGED, ItemStatus.UNCHANGED]
    assert (await resources.collections.get(GUIDE_COLLECTION)).last_seq == before.last_seq
    (pages / "search.md").write_text("# Search\n\nThere are four modes.\n")
    assert await load(resources, pages) == [ItemStatus.UNCHANGED, ItemStatus.UPDATED]


async def test_lost_page_is_removed(resources: Resources, pages: Path) -> None:
    await load(resources, pages)
    (pages / "search.md").unlink()
    loaded = await load_guide(resources.collections, resources.documents, pages)
    assert loaded.removed == ("search.md",)
    assert await document_ids(resources) == ["index.md"]


async def test_document_that_someone_added_stays(resources: Resources, pages: Path) -> None:
    await load(resources, pages)
    await resources.documents.add(GUIDE_COLLECTION, [DocumentInput("Our own hint.", id="hint")])
    await load(resources, pages)
    assert await document_ids(resources) == ["hint", "index.md", "search.md"]


async def test_unreadable_page_is_a_fault_that_names_it(resources: Resources, pages: Path) -> None:
    (pages / "index.md").write_bytes(b"")
    with pytest.raises(FootnoteError, match=r"index\.md"):
        await load(resources, pages)
