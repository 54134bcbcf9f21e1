import hashlib
from dataclasses import replace
from typing import Any

import pytest

from app.resources import Resources
from app.services.types import DocumentInput, FileInput, ItemResult, ItemStatus
from embeddings.errors import InvalidInput, NotFound, TooLarge
from tests.app.hashing_encoder import HashingEncoder
from tests.app.stored import dump, rows

LIGHTHOUSE = DocumentInput(
    "The lighthouse stands on a rock.", "light", "Lighthouse", {"lang": "en", "year": 1870}
)


def everything_stored(resources: Resources) -> list[Any]:
    tables = ("documents", "document_versions", "chunks", "vectors", "tombstones", "collections")
    return [rows(resources, f"SELECT * FROM {table} ORDER BY 1") for table in tables]  # noqa: S608


async def add_one(resources: Resources, collection: str, document: DocumentInput) -> ItemResult:
    (result,) = await resources.documents.add(collection, [document])
    return result


async def test_new_document_is_created_with_its_first_version(resources: Resources, notes: str) -> None:
    result = await add_one(resources, notes, LIGHTHOUSE)
    assert result == ItemResult("light", ItemStatus.CREATED, version=1, chunks=1)
    info = await resources.documents.get(notes, "light")
    assert (info.title, info.metadata, info.media_type) == (
        "Lighthouse",
        {"lang": "en", "year": 1870},
        "text/plain",
    )
    assert info.length == len(LIGHTHOUSE.text)
    assert info.content_hash == hashlib.sha256(LIGHTHOUSE.text.encode()).hexdigest()
    assert info.created_at == info.updated_at
    assert info.created_at.tzinfo is not None


async def test_same_document_again_is_unchanged_and_not_encoded(
    resources: Resources, notes: str, encoder: HashingEncoder
) -> None:
    await add_one(resources, notes, LIGHTHOUSE)
    before, encoder.encoded = everything_stored(resources), []
    result = await add_one(resources, notes, LIGHTHOUSE)
    assert result == ItemResult("light", ItemStatus.UNCHANGED, version=1, chunks=1)
    assert encoder.encoded == []
    assert everything_stored(resources) == before


async def test_order_of_metadata_keys_is_no_change(resources: Resources, notes: str) -> None:
    await add_one(resources, notes, LIGHTHOUSE)
    turned = replace(LIGHTHOUSE, metadata={"year": 1870, "lang": "en"})
    assert (await add_one(resources, notes, turned)).status == ItemStatus.UNCHANGED


async def test_changed_text_makes_a_new_version_and_keeps_the_old_text(
    resources: Resources, notes: str
) -> None:
    await add_one(resources, notes, LIGHTHOUSE)
    result = await add_one(resources, notes, replace(LIGHTHOUSE, text="The lighthouse fell."))
    assert (result.status, result.version) == (ItemStatus.UPDATED, 2)
    assert (await resources.documents.text(notes, "light", version=1)).text == LIGHTHOUSE.text
    assert (await resources.documents.text(notes, "light")).text == "The lighthouse fell."


@pytest.mark.parametrize("changes", [{"title": "Beacon"}, {"title": None}, {"metadata": {"lang": "ru"}}])
async def test_changed_title_or_metadata_is_an_update_of_the_same_version(
    resources: Resources, notes: str, changes: dict[str, Any]
) -> None:
    await add_one(resources, notes, LIGHTHOUSE)
    result = await add_one(resources, notes, replace(LIGHTHOUSE, **changes))
    assert (result.status, result.version) == (ItemStatus.UPDATED, 1)
    info = await resources.documents.get(notes, "light")
    assert {name: getattr(info, name) for name in changes} == changes


async def test_only_chunks_of_the_current_version_are_kept(resources: Resources, notes: str) -> None:
    await add_one(resources, notes, replace(LIGHTHOUSE, text="A sentence of six words here. " * 60))
    await add_one(resources, notes, LIGHTHOUSE)
    assert rows(resources, "SELECT count(*) FROM chunks") == [(1,)]
    assert rows(resources, "SELECT count(*) FROM vectors") == [(1,)]
    assert rows(resources, "SELECT count(*) FROM document_versions") == [(2,)]


async def test_chunks_cover_the_text_and_carry_unit_vectors_of_the_model(
    resources: Resources, notes: str
) -> None:
    text = "Маяк стоит на скале. 灯塔站在岩石上。 A lighthouse stands. " * 30
    await add_one(resources, notes, DocumentInput(text, "x"))
    spans = rows(resources, 'SELECT start, "end" FROM chunks ORDER BY ordinal')
    assert len(spans) > 1
    covered = {position for start, end in spans for position in range(start, end)}
    assert all(position in covered for position, character in enumerate(text) if not character.isspace())
    vectors = rows(resources, "SELECT model_id, length(data) FROM vectors")
    assert vectors == [("hashing@1", 64)] * len(spans)


async def test_document_without_an_id_is_known_by_its_content(resources: Resources, notes: str) -> None:
    nameless = DocumentInput("The lighthouse stands on a rock.")
    first = await add_one(resources, notes, nameless)
    assert first.id is not None
    assert await add_one(resources, notes, nameless) == replace(first, status=ItemStatus.UNCHANGED)
    other = await add_one(resources, notes, replace(nameless, metadata={"copy": 2}))
    assert other.status == ItemStatus.CREATED


async def test_same_nameless_document_twice_in_a_batch_is_stored_once(
    resources: Resources, notes: str
) -> None:
    results = await resources.documents.add(notes, [DocumentInput("A rock."), DocumentInput("A rock.")])
    assert [result.status for result in results] == [ItemStatus.CREATED, ItemStatus.UNCHANGED]
    assert (await resources.collections.get(notes)).documents == 1


BAD_ITEMS = [
    (DocumentInput("", "x"), InvalidInput, "text"),
    (DocumentInput(" \n\u3000", "x"), InvalidInput, "text"),
    (DocumentInput("half \ud83d", "x"), InvalidInput, "text"),
    (DocumentInput("nul \x00", "x"), InvalidInput, "text"),
    (DocumentInput("я" * 60_000, "x"), TooLarge, "text"),
    (DocumentInput("text", ""), InvalidInput, "id"),
    (DocumentInput("text", " x"), InvalidInput, "id"),
    (DocumentInput("text", "a\nb"), InvalidInput, "id"),
    (DocumentInput("text", "x" * 513), InvalidInput, "id"),
    (DocumentInput("text", "x", "t" * 1001), InvalidInput, "title"),
    (DocumentInput("text", "x", metadata=["a"]), InvalidInput, "metadata"),  # type: ignore[arg-type]
    (DocumentInput("text", "x", metadata={"a": float("nan")}), InvalidInput, "metadata.a"),
    (DocumentInput("text", "x", metadata={"a": [1, 2**63]}), InvalidInput, "metadata.a[1]"),
    (DocumentInput("text", "x", metadata={"a": {"b": "\ud800"}}), InvalidInput, "metadata.a.b"),
    (DocumentInput("text", "x", metadata={"$set": 1}), InvalidInput, "metadata"),
    (DocumentInput("text", "x", metadata={"a": "b" * 70_000}), TooLarge, "metadata"),
    (DocumentInput("text", "x", media_type="image/png"), Exception, None),
]


@pytest.mark.parametrize(("bad", "error", "field"), BAD_ITEMS)
async def test_bad_item_fails_alone_and_names_its_field(
    resources: Resources, notes: str, bad: DocumentInput, error: type[Exception], field: str | None
) -> None:
    good = [DocumentInput("Before.", "before"), DocumentInput("After.", "after")]
    results = await resources.documents.add(notes, [good[0], bad, good[1]])
    statuses = [result.status for result in results]
    assert statuses == [ItemStatus.CREATED, ItemStatus.ERROR, ItemStatus.CREATED]
    assert isinstance(results[1].error, error)
    assert field is None or results[1].error.field == field
    assert (await resources.collections.get(notes)).documents == 2


async def test_too_deep_metadata_is_refused(resources: Resources, notes: str) -> None:
    metadata: dict[str, Any] = {}
    for _ in range(2000):
        metadata = {"a": metadata}
    result = await add_one(resources, notes, DocumentInput("text", "x", metadata=metadata))
    assert isinstance(result.error, InvalidInput)


async def test_ids_twice_in_a_batch_fail_and_nothing_of_them_is_written(
    resources: Resources, notes: str
) -> None:
    batch = [DocumentInput("One.", "a"), DocumentInput("Two.", "b"), DocumentInput("Three.", "a")]
    results = await resources.documents.add(notes, batch)
    assert [result.status for result in results] == [ItemStatus.ERROR, ItemStatus.CREATED, ItemStatus.ERROR]
    assert all(result.error and result.error.field == "id" for result in results[::2])
    page = await resources.documents.list(notes)
    assert [document.id for document in page.documents] == ["b"]


async def test_batch_of_wrong_size_is_refused_whole(resources: Resources, notes: str) -> None:
    with pytest.raises(InvalidInput):
        await resources.documents.add(notes, [])
    with pytest.raises(TooLarge) as caught:
        await resources.documents.add(notes, [DocumentInput(f"Text {i}.") for i in range(51)])
    assert caught.value.found == "51"
    assert (await resources.collections.get(notes)).documents == 0


async def test_many_documents_in_one_batch_keep_their_order(resources: Resources, notes: str) -> None:
    batch = [DocumentInput(f"Text number {i}. " * 500, f"{i:02}") for i in range(40)]
    results = await resources.documents.add(notes, batch)
    assert [result.id for result in results] == [document.id for document in batch]
    assert all(result.status == ItemStatus.CREATED for result in results)


async def test_text_ranges_count_code_points(resources: Resources, notes: str) -> None:
    text = "Маяк 灯塔 👩‍🚀 lighthouse"
    await add_one(resources, notes, DocumentInput(text, "x"))
    found = await resources.documents.text(notes, "x", start=5, end=9)
    assert (found.text, found.start, found.end, found.length) == (text[5:9], 5, 9, len(text))
    assert (await resources.documents.text(notes, "x", start=len(text))).text == ""


@pytest.mark.parametrize(
    ("start", "end", "field"), [(-1, 2, "start"), (3, 2, "end"), (0, 99, "end"), (99, None, "start")]
)
async def test_text_range_outside_the_text_is_refused(
    resources: Resources, notes: str, start: int, end: int | None, field: str
) -> None:
    await add_one(resources, notes, DocumentInput("short", "x"))
    with pytest.raises(InvalidInput) as caught:
        await resources.documents.text(notes, "x", start=start, end=end)
    assert caught.value.field == field


async def test_unknown_document_and_version_are_not_found(resources: Resources, notes: str) -> None:
    await add_one(resources, notes, LIGHTHOUSE)
    for call in (
        resources.documents.get(notes, "none"),
        resources.documents.text(notes, "none"),
        resources.documents.original(notes, "none"),
        resources.documents.delete(notes, "none"),
    ):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.field == "id"
    with pytest.raises(NotFound) as caught:
        await resources.documents.text(notes, "light", version=2)
    assert caught.value.field == "version"


async def test_original_of_a_text_is_the_text(resources: Resources, notes: str) -> None:
    await add_one(resources, notes, DocumentInput("Маяк.\r\n", "x"))
    original = await resources.documents.original(notes, "x")
    assert (original.data, original.media_type) == ("Маяк.\r\n".encode(), "text/plain")


async def test_markdown_text_is_kept_to_the_letter_and_lends_its_headings(
    resources: Resources, notes: str
) -> None:
    text = "# Coast\r\n\r\n## Lights\r\n\r\n" + "The lighthouse stands on a rock. " * 60
    await add_one(resources, notes, DocumentInput(text, "x", media_type="text/markdown"))
    assert (await resources.documents.text(notes, "x")).text == text
    assert '["Coast", "Lights"]' in {path for (path,) in rows(resources, "SELECT heading_path FROM chunks")}


async def test_documents_are_listed_in_pages_by_id(resources: Resources, notes: str) -> None:
    ids = ["б", "a", "c/2", "c/1", "B"]
    await resources.documents.add(notes, [DocumentInput(f"Text of {name}.", name) for name in ids])
    first = await resources.documents.list(notes, limit=2)
    second = await resources.documents.list(notes, limit=2, after=first.next)
    third = await resources.documents.list(notes, limit=2, after=second.next)
    pages = (first, second, third)
    assert [document.id for page in pages for document in page.documents] == sorted(ids)
    assert third.next is None


@pytest.mark.parametrize("limit", [0, -1, 1001, 1_000_000])
async def test_page_of_wrong_size_is_refused(resources: Resources, notes: str, limit: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        await resources.documents.list(notes, limit=limit)
    assert caught.value.field == "limit"


async def test_delete_takes_versions_originals_chunks_and_vectors(resources: Resources, notes: str) -> None:
    await resources.documents.add_files(notes, [FileInput("light.txt", b"The lighthouse stands.")])
    await resources.documents.add_files(notes, [FileInput("light.txt", b"The lighthouse fell.")])
    await resources.documents.delete(notes, "light.txt")
    for table in ("documents", "document_versions", "chunks", "vectors"):
        assert rows(resources, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608
    assert "light" not in dump(resources)


async def test_document_that_comes_back_goes_on_counting_versions(resources: Resources, notes: str) -> None:
    await add_one(resources, notes, LIGHTHOUSE)
    await resources.documents.delete(notes, "light")
    again = await add_one(resources, notes, replace(LIGHTHOUSE, text="Another one."))
    assert (again.status, again.version) == (ItemStatus.CREATED, 2)
    with pytest.raises(NotFound):
        await resources.documents.text(notes, "light", version=1)


async def test_delete_by_ids_counts_those_that_were_there(resources: Resources, notes: str) -> None:
    await resources.documents.add(notes, [DocumentInput(f"Text {i}.", str(i)) for i in range(4)])
    assert await resources.documents.delete_where(notes, ids=["1", "3", "1", "none"]) == 2
    assert [document.id for document in (await resources.documents.list(notes)).documents] == ["0", "2"]
    assert await resources.documents.delete_where(notes, ids=["1"]) == 0


async def test_delete_by_filter_deletes_exactly_what_passes(resources: Resources, notes: str) -> None:
    batch = [DocumentInput(f"Text {i}.", str(i), metadata={"year": 2000 + i}) for i in range(4)]
    await resources.documents.add(notes, [*batch, DocumentInput("No year.", "none")])
    assert await resources.documents.delete_where(notes, filter={"year": {"$gte": 2002}}) == 2
    assert [document.id for document in (await resources.documents.list(notes)).documents] == [
        "0",
        "1",
        "none",
    ]


@pytest.mark.parametrize(
    "selection", [{}, {"ids": ["a"], "filter": {"a": 1}}, {"filter": {}}, {"filter": {"a": {"$near": 1}}}]
)
async def test_unclear_selection_deletes_nothing(
    resources: Resources, notes: str, selection: dict[str, Any]
) -> None:
    await add_one(resources, notes, DocumentInput("Text.", "a", metadata={"a": 1}))
    with pytest.raises(InvalidInput):
        await resources.documents.delete_where(notes, **selection)
    assert (await resources.collections.get(notes)).documents == 1
