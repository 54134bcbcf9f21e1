"""The map of a collection over HTTP."""

import pytest
from httpx import AsyncClient as Client

from app.resources import Resources
from app.services.types import Scope
from tests.app.http.conftest import assert_problem

ROUTE = "/v1/collections/garden/map"


async def test_the_columns_tell_of_the_same_points(client: Client, garden: str) -> None:
    reply = (await client.get(ROUTE)).json()
    assert {len(column) for column in reply["points"].values()} == {reply["passages"]} == {2}
    assert sorted(reply["documents"]["id"]) == ["beds/tomatoes", "снег"]
    assert reply["release"] == 1
    assert sum(cluster["points"] for cluster in reply["clusters"]) == 2
    assert reply["values"] is None


async def test_a_point_is_where_its_passage_stands(client: Client, garden: str) -> None:
    reply = (await client.get(ROUTE)).json()
    points, documents = reply["points"], reply["documents"]
    place = next(i for i, each in enumerate(points["document"]) if documents["id"][each] == "снег")
    start, end = points["start"][place], points["end"][place]
    assert "Убирайте снег с грядок весной."[start:end].startswith(points["line"][place])


async def test_a_field_of_the_metadata_is_told_by_document(client: Client, garden: str) -> None:
    reply = (await client.get(ROUTE, params={"field": "bed"})).json()
    assert reply["fields"] == ["bed"]
    values = reply["values"]
    told = {
        reply["documents"]["id"][place]: values["labels"][int(value)]
        for place, value in enumerate(values["of"])
    }
    assert (values["kind"], told) == ("label", {"beds/tomatoes": "1", "снег": "2"})


@pytest.mark.parametrize(
    ("offer", "encoding"),
    [("gzip, br", "gzip"), ("gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("br", None), ("", None)],
)
async def test_it_is_compressed_for_those_who_take_that(
    client: Client, garden: str, offer: str, encoding: str | None
) -> None:
    reply = await client.get(ROUTE, headers={"Accept-Encoding": offer})
    assert reply.headers.get("content-encoding") == encoding
    assert reply.headers["vary"] == "Accept-Encoding"
    assert len(reply.json()["points"]["x"]) == 2


async def test_a_field_that_no_document_has_is_refused(client: Client, garden: str) -> None:
    problem = assert_problem(await client.get(ROUTE, params={"field": "colour"}), 422, "field")
    assert problem["expected"] == "bed"


async def test_a_number_of_points_out_of_range_is_refused(client: Client, garden: str) -> None:
    assert_problem(await client.get(ROUTE, params={"points": 0}), 422, "points")


async def test_a_collection_that_a_key_may_not_see_is_not_there(
    client: Client, resources: Resources, garden: str
) -> None:
    key = await resources.keys.create("narrow", [Scope.READ], ["elsewhere"])
    headers = {"Authorization": f"Bearer {key.token}"}
    hidden, missing = await client.get(ROUTE, headers=headers), await client.get("/v1/collections/none/map")
    assert hidden.status_code == missing.status_code == 404
