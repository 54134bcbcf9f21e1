"""Maps of stored collections."""

import asyncio

import numpy as np
import pytest

from app.resources import Resources
from app.services.map_fields import OTHER, field_names, field_values
from app.services.mapping import MAX_POINTS, drawn_keys, first_line
from app.services.types import DocumentInput
from embeddings.errors import InvalidInput, NotFound, Overloaded

GARDEN = "Plant tomatoes and water the tomatoes in the sun."
SNOW = "Clear the snow and ice from the winter road."


async def add(resources: Resources, collection: str, count: int = 6) -> None:
    documents = [
        DocumentInput(
            f"# Bed {i}\n\n{GARDEN} Bed {i}.", f"garden{i}", f"Bed {i}", {"kind": "garden", "year": 2000 + i}
        )
        for i in range(count)
    ]
    documents += [
        DocumentInput(f"{SNOW} Day {i}.", f"snow{i}", f"Day {i}", {"kind": "snow"}) for i in range(count)
    ]
    await resources.documents.add(collection, documents)


async def test_each_passage_is_a_point_in_the_square(resources: Resources, notes: str) -> None:
    await add(resources, notes)
    found = await resources.mapping.map(notes)
    assert found.passages == len(found.points) == (await resources.collections.get(notes)).chunks
    assert max(abs(point.x) for point in found.points) <= 1
    assert {found.documents[point.document].id for point in found.points} == {
        each.id for each in found.documents
    }
    by_id = {each.id: each for each in found.documents}
    assert by_id["garden0"].metadata["year"] == 2000


async def test_a_point_says_where_its_passage_stands_and_how_it_begins(
    resources: Resources, notes: str
) -> None:
    await add(resources, notes)
    found = await resources.mapping.map(notes)
    point = next(each for each in found.points if found.documents[each.document].id == "snow2")
    stood = await resources.documents.text(notes, "snow2", 1, point.start, point.end)
    assert stood.text == f"{SNOW} Day 2."
    assert point.line == f"{SNOW} Day 2."


async def test_passages_about_the_same_are_one_named_cluster(resources: Resources, notes: str) -> None:
    await add(resources, notes)
    found = await resources.mapping.map(notes)
    kinds = [
        {found.documents[point.document].id[:4] for point in found.points if point.cluster == number}
        for number in range(len(found.clusters))
    ]
    assert all(len(kind) == 1 for kind in kinds)
    assert sum(cluster.points for cluster in found.clusters) == len(found.points)
    snowy = kinds.index({"snow"})
    assert {"snow", "winter", "ice", "road", "clear", "day"} & set(found.clusters[snowy].words)
    assert all(found.points[place].cluster == snowy for place in found.clusters[snowy].typical)


async def test_a_map_is_kept_until_something_is_written(resources: Resources, notes: str) -> None:
    await add(resources, notes)
    first = await resources.mapping.map(notes)
    assert await resources.mapping.map(notes) is first
    await resources.documents.delete(notes, "snow0")
    second = await resources.mapping.map(notes)
    assert second is not first
    assert "snow0" not in {each.id for each in second.documents}


async def test_calls_at_once_share_the_work(resources: Resources, notes: str) -> None:
    await add(resources, notes)
    first, second = await asyncio.gather(resources.mapping.map(notes), resources.mapping.map(notes))
    assert first is second


async def test_a_sample_is_drawn_of_many_passages(resources: Resources, notes: str) -> None:
    await add(resources, notes)
    found = await resources.mapping.map(notes, 5)
    assert len(found.points) == 5
    assert found.passages > 5


async def test_an_empty_collection_has_an_empty_map(resources: Resources, notes: str) -> None:
    found = await resources.mapping.map(notes)
    assert (found.points, found.clusters, found.passages) == ((), (), 0)


async def test_one_passage_is_a_map(resources: Resources, notes: str) -> None:
    await resources.documents.add(notes, [DocumentInput(SNOW, "one")])
    found = await resources.mapping.map(notes)
    assert len(found.points) == len(found.clusters) == 1


@pytest.mark.parametrize("points", [0, MAX_POINTS + 1])
async def test_an_impossible_number_of_points_is_refused(
    resources: Resources, notes: str, points: int
) -> None:
    with pytest.raises(InvalidInput) as error:
        await resources.mapping.map(notes, points)
    assert error.value.field == "points"


async def test_an_unknown_collection_has_no_map(resources: Resources) -> None:
    with pytest.raises(NotFound):
        await resources.mapping.map("nowhere")


async def test_a_service_that_closes_makes_no_more_maps(resources: Resources, notes: str) -> None:
    await add(resources, notes, 1)
    await resources.mapping.close()
    with pytest.raises(Overloaded):
        await resources.mapping.map(notes)


async def test_fields_tell_labels_numbers_and_what_is_missing(resources: Resources, notes: str) -> None:
    await add(resources, notes, 9)
    documents = (await resources.mapping.map(notes)).documents
    assert field_names(documents) == ("kind", "year")
    kinds = field_values(documents, "kind")
    assert (kinds.kind, set(kinds.labels)) == ("label", {"garden", "snow"})
    assert {kinds.labels[int(place)] for place in kinds.of if place is not None} == {"garden", "snow"}
    years = field_values(documents, "year")
    assert years.kind == "number"
    assert [value for value in years.of if value is not None] == [2000.0 + i for i in range(9)]
    assert years.of.count(None) == 9
    with pytest.raises(InvalidInput, match="colour"):
        field_values(documents, "colour")


async def test_rare_labels_are_others(resources: Resources, notes: str) -> None:
    texts = [DocumentInput(f"{SNOW} {i}", f"s{i}", metadata={"word": f"w{max(0, i - 3)}"}) for i in range(16)]
    await resources.documents.add(notes, texts)
    values = field_values((await resources.mapping.map(notes)).documents, "word")
    assert values.labels[0] == "w0"
    assert (len(values.labels), values.of.count(OTHER)) == (10, 3)


def test_a_key_stays_drawn_while_others_come() -> None:
    before = set(drawn_keys(np.arange(1, 10_001), 500).tolist())
    after = set(drawn_keys(np.arange(1, 10_501), 500).tolist())
    assert len(before) == len(after) == 500
    assert len(before & after) > 440
    assert np.histogram(sorted(before), bins=10, range=(0, 10_000))[0].min() > 30


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("\n\n## A heading\nText", "A heading"),
        ("---\n| a | b |", "a | b |"),
        ("\n", ""),
        ("x" * 200, "x" * 79 + "…"),
    ],
)
def test_the_first_line_has_words(text: str, line: str) -> None:
    assert first_line(text) == line
