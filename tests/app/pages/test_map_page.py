"""The page around the map."""

from httpx import AsyncClient as Client


async def test_the_page_names_its_collection_and_brings_the_script(client: Client, garden: str) -> None:
    reply = await client.get("/collections/garden/map")
    assert reply.status_code == 200
    assert 'data-collection="garden"' in reply.text
    assert "/web/js/map.js" in reply.text
    for asset in ("/web/js/map.js", "/web/js/map-view.js", "/web/css/map.css"):
        assert (await client.get(asset)).status_code == 200


async def test_an_empty_collection_has_nothing_to_draw(admin: Client) -> None:
    await admin.post("/v1/collections", json={"name": "bare"})
    reply = await admin.get("/collections/bare/map")
    assert "nothing to draw yet" in reply.text
    assert "/web/js/map.js" not in reply.text


async def test_an_unknown_collection_is_a_page_that_says_so(client: Client) -> None:
    reply = await client.get("/collections/nowhere/map")
    assert (reply.status_code, reply.headers["content-type"].partition(";")[0]) == (404, "text/html")
