"""What a search may ask for beside a query: a fusion, variety, a least score, neighbours as one hit."""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from app.resources import Resources
from app.services.types import CollectionSettings, DocumentInput, Hit, SearchInput, SearchOutput
from embeddings.errors import InvalidInput
from retrieval.types import Fusion, FusionMethod, Normalisation, SearchMode

WORDS = ("apple", "яблоко", "苹果")
LONG = "\n\n".join(
    f"Section {number} is about {WORDS[number % 3]} and orchard {number}. " * 4 for number in range(30)
)


@pytest.fixture
async def orchard(resources: Resources) -> str:
    """Two long documents of many chunks each, and short ones."""
    await resources.collections.create("orchard", CollectionSettings(32, 8))
    short = [DocumentInput(f"An apple a day, number {i}.", f"short-{i}") for i in range(20)]
    await resources.documents.add(
        "orchard", [DocumentInput(LONG, "long"), DocumentInput(LONG.upper(), "loud"), *short]
    )
    return "orchard"


async def search(resources: Resources, collection: str, **wanted: Any) -> SearchOutput:
    return await resources.search.search(collection, SearchInput(**{"query": "apple orchard", **wanted}))


def spans(hits: tuple[Hit, ...]) -> list[tuple[str, int, int]]:
    return [(hit.document_id, hit.start, hit.end) for hit in hits]


@pytest.mark.parametrize("mode", SearchMode)
async def test_merged_hits_are_exact_spans_that_do_not_touch(
    resources: Resources, orchard: str, mode: SearchMode
) -> None:
    found = await search(resources, orchard, mode=mode, limit=12, merge_neighbours=True)

    texts = {"long": LONG, "loud": LONG.upper()}
    for hit in found.hits:
        if hit.document_id in texts:
            assert hit.text == texts[hit.document_id][hit.start : hit.end]
    ordered = sorted(spans(found.hits))
    for (document, _, end), (following, start, _) in itertools.pairwise(ordered):
        assert document != following or end < start
    plain = await search(resources, orchard, mode=mode, limit=12)
    assert max(len(hit.text) for hit in found.hits) > max(len(hit.text) for hit in plain.hits)


async def test_page_of_merged_hits_is_full_and_keeps_the_best_score(
    resources: Resources, orchard: str
) -> None:
    chunks = await search(resources, orchard, limit=200)
    merged = await search(resources, orchard, limit=8, merge_neighbours=True)

    assert len(merged.hits) == 8
    scores = [hit.score for hit in merged.hits]
    assert scores == sorted(scores, reverse=True)
    assert merged.hits[0].score == chunks.hits[0].score
    for hit in merged.hits:
        inside = [
            chunk.score
            for chunk in chunks.hits
            if chunk.document_id == hit.document_id and hit.start <= chunk.start and chunk.end <= hit.end
        ]
        assert hit.score == max(inside)


async def test_more_merged_hits_than_there_are_end_the_page(resources: Resources, orchard: str) -> None:
    merged = await search(resources, orchard, limit=500, mode=SearchMode.DENSE, merge_neighbours=True)

    assert sorted({hit.document_id for hit in merged.hits}) == sorted(
        ["long", "loud", *(f"short-{i}" for i in range(20))]
    )
    whole = {hit.document_id: hit for hit in merged.hits}
    assert len(merged.hits) == 22
    assert whole["long"].text == LONG.strip()


async def test_pages_of_merged_hits_follow_one_another(resources: Resources, orchard: str) -> None:
    async def scores(limit: int, offset: int) -> list[float]:
        found = await search(resources, orchard, limit=limit, offset=offset, merge_neighbours=True)
        return [hit.score for hit in found.hits]

    assert await scores(3, 0) + await scores(3, 3) == await scores(6, 0)


async def test_blank_space_between_neighbours_is_part_of_their_hit(resources: Resources) -> None:
    """Chunks without overlap leave out the white space where they part."""
    await resources.collections.create("parted", CollectionSettings(16, 0))
    text = "\n\n \n".join(f"Apple orchard {i}, яблоневый сад {i}, 苹果园 {i}." for i in range(12))
    await resources.documents.add("parted", [DocumentInput(text, "trees")])

    plain = await search(resources, "parted", limit=50, mode=SearchMode.DENSE)
    (hit,) = (await search(resources, "parted", mode=SearchMode.DENSE, merge_neighbours=True)).hits

    assert len(plain.hits) > 5
    assert sum(len(chunk.text) for chunk in plain.hits) < len(text)
    assert (hit.start, hit.end, hit.text) == (0, len(text), text)
    assert hit.scores.dense is not None
    assert hit.scores.dense.rank == 1


async def test_neighbours_of_another_document_stay_apart(resources: Resources, notes: str) -> None:
    await resources.documents.add(
        notes, [DocumentInput("apple one", "a"), DocumentInput("apple two", "b"), DocumentInput("x", "c")]
    )
    found = await search(resources, notes, query="apple", limit=2, merge_neighbours=True)
    assert sorted(spans(found.hits)) == [("a", 0, 9), ("b", 0, 9)]


async def test_least_score_holds_for_merged_hits_too(resources: Resources, orchard: str) -> None:
    plain = await search(resources, orchard, limit=100)
    least = plain.hits[5].score

    for merge in (False, True):
        found = await search(resources, orchard, limit=100, min_score=least, merge_neighbours=merge)
        assert 0 < len(found.hits) <= 6 + sum(hit.score == least for hit in plain.hits)
        assert all(hit.score >= least for hit in found.hits)


async def test_diversity_brings_other_documents_up(resources: Resources, orchard: str) -> None:
    async def documents(diversity: float) -> set[str]:
        found = await search(resources, orchard, mode=SearchMode.DENSE, diversity=diversity)
        return {hit.document_id for hit in found.hits}

    assert len(await documents(0.9)) > len(await documents(0.0))


async def test_fusion_of_the_request_goes_before_that_of_the_collection(
    resources: Resources, orchard: str
) -> None:
    async def method(**wanted: Any) -> FusionMethod:
        found = await search(resources, orchard, **wanted)
        assert found.weights is not None
        return found.weights.method

    assert await method() == FusionMethod.EVIDENCE
    settings = (await resources.collections.get(orchard)).settings
    set_fusion = Fusion(FusionMethod.CONVEX, alpha=0.3, normalisation=Normalisation.MIN_MAX)
    await resources.collections.update(orchard, replace(settings, fusion=set_fusion))
    assert (await resources.collections.get(orchard)).settings.fusion == set_fusion
    assert await method() == FusionMethod.CONVEX
    assert await method(fusion=Fusion(FusionMethod.RRF, k=10)) == FusionMethod.RRF
    await resources.collections.update(orchard, replace(settings, fusion=None))
    assert await method() == FusionMethod.EVIDENCE


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"diversity": 1.01}, "diversity"),
        ({"min_score": float("nan")}, "min_score"),
        ({"fusion": Fusion(alpha=-1.0)}, "fusion.alpha"),
    ],
)
async def test_option_out_of_range_names_its_field(
    resources: Resources, orchard: str, wanted: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await search(resources, orchard, **wanted)
    assert caught.value.field == field


async def test_setting_out_of_range_is_refused_and_changes_nothing(
    resources: Resources, orchard: str
) -> None:
    settings = (await resources.collections.get(orchard)).settings
    with pytest.raises(InvalidInput) as caught:
        await resources.collections.update(orchard, replace(settings, fusion=Fusion(k=0)))
    assert caught.value.field == "settings.fusion.k"
    assert (await resources.collections.get(orchard)).settings == settings
