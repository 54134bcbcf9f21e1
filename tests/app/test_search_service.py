import asyncio
from typing import Any

import pytest

from app.resources import Models, Resources, open_resources
from app.services.types import DocumentInput, SearchInput
from app.settings import Settings
from embeddings.errors import InvalidInput
from retrieval.types import SearchMode
from tests.app.hashing_encoder import HashingEncoder

COAST = [
    DocumentInput("The lighthouse stands on a rock.", "light", "Lights", {"year": 1870, "lang": "en"}),
    DocumentInput("Маяк стоит на скале у моря.", "mayak", "Маяки", {"year": 1901, "lang": "ru"}),
    DocumentInput("灯塔站在岩石上。", "dengta", None, {"year": 1950, "lang": "zh"}),
    DocumentInput("Bread is baked from flour and water.", "bread", None, {"year": 1870}),
]


@pytest.fixture
async def coast(resources: Resources, notes: str) -> str:
    await resources.documents.add(notes, COAST)
    return notes


async def found(resources: Resources, collection: str, query: str, **wanted: Any) -> list[str]:
    output = await resources.search.search(collection, SearchInput(query, **wanted))
    return [hit.document_id for hit in output.hits]


@pytest.mark.parametrize("mode", SearchMode)
@pytest.mark.parametrize(
    ("query", "best"), [("lighthouse rock", "light"), ("маяк море", "mayak"), ("灯塔", "dengta")]
)
async def test_best_hit_comes_first_in_every_mode_and_language(
    resources: Resources, coast: str, mode: SearchMode, query: str, best: str
) -> None:
    if mode == SearchMode.DENSE and best == "dengta":
        pytest.skip("the hashing encoder knows whole words only, and Chinese does not part them")
    assert (await found(resources, coast, query, mode=mode))[0] == best


async def test_hit_shows_the_exact_span_and_its_document(resources: Resources, notes: str) -> None:
    text = (
        "# Coast\n\n" + "The sea is wide and deep. " * 100 + "\n\n## Lights\n\nThe lighthouse 灯塔 stands.\n"
    )
    await resources.documents.add(notes, [DocumentInput(text, "x", None, {"a": 1}, "text/markdown")])
    output = await resources.search.search(notes, SearchInput("lighthouse stands", SearchMode.LEXICAL))
    hit = output.hits[0]
    assert hit.text == text[hit.start : hit.end]
    assert "lighthouse" in hit.text
    assert (hit.document_id, hit.version, hit.metadata, hit.title) == ("x", 1, {"a": 1}, "Coast")
    assert hit.heading_path == ("Coast", "Lights")
    assert hit.scores.lexical is not None
    assert hit.scores.dense is None


async def test_document_is_found_when_its_add_returns_and_gone_when_its_delete_returns(
    resources: Resources, coast: str
) -> None:
    await resources.documents.add(coast, [DocumentInput("A harbour pilot.", "pilot")])
    assert (await found(resources, coast, "harbour pilot"))[0] == "pilot"
    await resources.documents.delete(coast, "pilot")
    assert "pilot" not in await found(resources, coast, "harbour pilot")


async def test_changed_text_and_metadata_are_seen_at_once(resources: Resources, coast: str) -> None:
    assert await found(resources, coast, "lighthouse", filter={"year": 1870}, mode="lexical") == ["light"]
    await resources.documents.add(coast, [DocumentInput("A beacon burns.", "light", None, {"year": 1999})])
    assert await found(resources, coast, "lighthouse", mode="lexical") == []
    assert await found(resources, coast, "beacon", mode="lexical", filter={"year": 1870}) == []
    assert await found(resources, coast, "beacon", mode="lexical", filter={"year": 1999}) == ["light"]


async def test_filter_holds_before_ranking(resources: Resources, coast: str) -> None:
    ids = await found(resources, coast, "lighthouse", filter={"year": {"$lt": 1900}}, mode="dense")
    assert sorted(ids) == ["bread", "light"]
    assert await found(resources, coast, "lighthouse", filter={"lang": "fr"}) == []
    with pytest.raises(InvalidInput, match="no_such_field"):
        await found(resources, coast, "lighthouse", filter={"no_such_field": 1})


async def test_pages_of_hits_join_to_the_whole_ranking(resources: Resources, coast: str) -> None:
    whole = await found(resources, coast, "lighthouse rock", mode="dense")
    assert len(whole) == 4
    pages = [
        await found(resources, coast, "lighthouse rock", mode="dense", limit=2, offset=i) for i in (0, 2, 4)
    ]
    assert [document for page in pages for document in page] == whole


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"query": ""}, "query"),
        ({"query": " \n"}, "query"),
        ({"query": "a" * 4001}, "query"),
        ({"query": "half \ud83d"}, "query"),
        ({"limit": 0}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": 1_000_000}, "limit"),
        ({"offset": -1}, "offset"),
        ({"offset": 1_000_000}, "offset"),
        ({"filter": {"year": {"$near": 1}}}, "filter.year.$near"),
        ({"filter": []}, "filter"),
    ],
)
async def test_bad_request_names_its_field(
    resources: Resources, coast: str, wanted: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await resources.search.search(coast, SearchInput(**{"query": "lighthouse", **wanted}))
    assert caught.value.field == field


async def test_empty_collection_has_no_hits(resources: Resources, notes: str) -> None:
    assert await found(resources, notes, "lighthouse") == []


async def test_write_of_another_process_is_seen_by_the_next_search(
    resources: Resources, coast: str, settings: Settings, models: Models
) -> None:
    await found(resources, coast, "lighthouse")
    async with open_resources(settings, models) as other:
        await other.documents.add(coast, [DocumentInput("A harbour pilot.", "pilot")])
        await other.documents.delete(coast, "light")
    assert (await found(resources, coast, "harbour pilot"))[0] == "pilot"
    assert "light" not in await found(resources, coast, "lighthouse", mode="dense")


async def test_restart_finds_what_was_stored_and_not_what_was_deleted(
    settings: Settings, models: Models
) -> None:
    async with open_resources(settings, models) as first:
        await first.collections.create("coast")
        await first.documents.add("coast", COAST)
        await first.documents.delete("coast", "bread")
    async with open_resources(settings, models) as second:
        assert sorted(await found(second, "coast", "lighthouse", mode="dense")) == [
            "dengta",
            "light",
            "mayak",
        ]


async def test_collection_made_again_under_the_same_name_starts_empty(
    resources: Resources, coast: str
) -> None:
    await found(resources, coast, "lighthouse")
    await resources.collections.delete(coast)
    await resources.collections.create(coast)
    await resources.documents.add(coast, [DocumentInput("A harbour pilot.", "pilot")])
    assert await found(resources, coast, "lighthouse", mode="dense") == ["pilot"]


async def test_documents_written_under_another_encoder_are_encoded_anew(
    settings: Settings, models: Models
) -> None:
    async with open_resources(settings, models) as first:
        await first.collections.create("coast")
        await first.documents.add("coast", COAST)
    newer = HashingEncoder("hashing@2", dimension=48)
    for expected in (sorted(document.id or "" for document in COAST), []):
        newer.encoded = []
        async with open_resources(settings, Models(newer, models.tokenizer, models.answerer)) as second:
            assert (await found(second, "coast", "lighthouse rock", mode="dense"))[0] == "light"
        assert len(newer.encoded) == len(expected)


async def test_searches_during_writes_miss_no_document_that_only_changes(
    resources: Resources, coast: str
) -> None:
    async def rewrite() -> None:
        for year in range(30):
            changed = DocumentInput("The lighthouse stands on a rock.", "light", "Lights", {"year": year})
            await resources.documents.add(coast, [changed])

    writer = asyncio.create_task(rewrite())
    while not writer.done():
        assert (await found(resources, coast, "lighthouse rock", limit=2))[0] == "light"
    await writer
