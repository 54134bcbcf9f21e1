"""The documents of a stored collection in groups."""

import pytest

from app.resources import Resources
from app.services.grouping import GroupingService
from app.services.types import DocumentInput
from embeddings.errors import InvalidInput, NotFound

GARDEN = "Plant tomatoes and water the tomatoes in the sun."
SNOW = "Clear the snow and ice from the winter road."


def grouping(resources: Resources) -> GroupingService:
    return GroupingService(resources.database, resources.indexes)


async def add(resources: Resources, collection: str, **texts: str) -> None:
    documents = [DocumentInput(text, name, title=name.title()) for name, text in texts.items()]
    await resources.documents.add(collection, documents)


async def test_documents_about_the_same_share_a_cluster(resources: Resources, notes: str) -> None:
    texts = {f"garden{i}": f"{GARDEN} Bed {i}." for i in range(4)}
    texts |= {f"snow{i}": f"{SNOW} Day {i}." for i in range(3)}
    await add(resources, notes, **texts)
    found = await grouping(resources).cluster(notes, clusters=2)
    members = [{document.id[:4] for document in each.documents} for each in found.clusters]
    assert members == [{"gard"}, {"snow"}]
    assert [len(each.documents) for each in found.clusters] == [4, 3]
    assert "tomatoes" in found.clusters[0].words
    assert {"snow", "winter", "ice", "road", "clear"} & set(found.clusters[1].words)


async def test_the_most_typical_documents_come_first(resources: Resources, notes: str) -> None:
    await add(resources, notes, a=GARDEN, b=f"{GARDEN} Beds.", c="Quite another thing: the price of coal.")
    (found,) = (await grouping(resources).cluster(notes, clusters=1)).clusters
    scores = [document.score for document in found.documents]
    assert scores == sorted(scores, reverse=True)
    assert found.documents[-1].id == "c"


async def test_an_empty_collection_cannot_be_clustered(resources: Resources, notes: str) -> None:
    with pytest.raises(InvalidInput, match="no documents"):
        await grouping(resources).cluster(notes)
    assert (await grouping(resources).duplicates(notes, 0.95, 0.8)).pairs == ()


async def test_an_unknown_collection_is_not_found(resources: Resources) -> None:
    with pytest.raises(NotFound):
        await grouping(resources).cluster("nowhere")


async def test_equal_and_nearly_equal_documents_are_duplicates(resources: Resources, notes: str) -> None:
    await add(resources, notes, one=GARDEN, two=GARDEN, snow=SNOW)
    await resources.documents.add(notes, [DocumentInput(f"{GARDEN}!", "three", title="One")])
    found = await grouping(resources).duplicates(notes, 0.95, 0.8)
    assert found.groups == (("one", "two", "three"),)
    kinds = {(pair.first, pair.second): pair.same_text for pair in found.pairs}
    assert kinds[("one", "two")]
    assert not kinds[("one", "three")]
    assert all("snow" not in pair for pair in kinds)


async def test_a_document_within_another_is_contained(resources: Resources, notes: str) -> None:
    parts = [" ".join(f"{word}{i}" for i in range(150)) + "." for word in ("leek", "bean", "kale")]
    whole = DocumentInput("\n\n".join(parts), "whole")
    await resources.documents.add(notes, [whole, DocumentInput(parts[0], "part")])
    found = await grouping(resources).duplicates(notes, 0.9, 0.8)
    assert found.groups == ()
    assert {(pair.first, pair.second) for pair in found.contained} == {("whole", "part")}


async def test_deleted_documents_are_no_duplicates(resources: Resources, notes: str) -> None:
    await add(resources, notes, one=GARDEN, two=GARDEN)
    await resources.documents.delete(notes, "two")
    assert (await grouping(resources).duplicates(notes, 0.95, 0.8)).pairs == ()
