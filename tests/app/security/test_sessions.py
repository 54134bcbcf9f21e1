"""Page sessions: links that work once, cookies, and what they may."""

from datetime import timedelta

import pytest

from app.http.access import SESSION_COOKIE
from app.resources import Resources
from app.services import sessions as session_module
from app.services.types import Scope
from embeddings.errors import InvalidInput, NotFound, Unauthenticated
from tests.app.http.conftest import Client
from tests.app.security.conftest import OWN_PAGE, Signed
from tests.app.stored import dump


async def link_path(resources: Resources, scope: Scope = Scope.ADMIN) -> str:
    return "/login?token=" + await resources.sessions.make_link([scope])


async def test_link_is_exchanged_for_a_strict_cookie(client: Client, resources: Resources) -> None:
    reply = await client.get(await link_path(resources))
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    set_cookie = reply.headers["set-cookie"]
    attributes = {part.strip().lower() for part in set_cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", "max-age=2592000"} <= attributes
    assert "secure" not in attributes
    client.cookies.clear()
    token = set_cookie.split(";")[0].partition("=")[2]
    made = await client.post(
        "/v1/collections", json={"name": "notes"}, headers={"Cookie": f"{SESSION_COOKIE}={token}", **OWN_PAGE}
    )
    assert made.status_code == 201


async def test_cookie_of_an_encrypted_connection_is_never_sent_in_the_clear(
    client: Client, resources: Resources
) -> None:
    path = await link_path(resources)
    reply = await client.get("https://127.0.0.1" + path)
    assert "secure" in reply.headers["set-cookie"].lower()


async def test_link_works_once(client: Client, resources: Resources) -> None:
    path = await link_path(resources)
    assert (await client.get(path)).status_code == 303
    client.cookies.clear()
    again = await client.get(path)
    assert again.status_code == 401
    assert "set-cookie" not in again.headers


async def test_link_expires(client: Client, resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "LINK_LASTS", timedelta(seconds=-1))
    assert (await client.get(await link_path(resources))).status_code == 401


async def test_session_expires(
    client: Client, resources: Resources, monkeypatch: pytest.MonkeyPatch, cookie: Signed
) -> None:
    monkeypatch.setattr(session_module, "SESSION_LASTS", timedelta(seconds=-1))
    headers = await cookie()
    assert (await client.post("/v1/snapshots", json={}, headers=headers | OWN_PAGE)).status_code == 401


@pytest.mark.parametrize("token", ["", "fnlink_", "fnlink_" + "A" * 43, "fnpage_", "' OR 1=1 --", "ключ"])
async def test_guessed_tokens_open_nothing(token: str, client: Client, resources: Resources) -> None:
    await link_path(resources)
    assert (await client.get("/login", params={"token": token})).status_code == 401
    reply = await client.post("/login", data={"token": token}, headers=OWN_PAGE)
    assert reply.status_code == 401


async def test_key_is_not_taken_from_an_address(client: Client, resources: Resources) -> None:
    key = await resources.keys.create("robot", [Scope.ADMIN])
    assert (await client.get("/login", params={"token": key.token})).status_code == 401


async def test_neither_link_nor_cookie_stands_in_the_database(resources: Resources) -> None:
    link = await resources.sessions.make_link([Scope.READ])
    opened = await resources.sessions.open_link(link)
    unopened = await resources.sessions.make_link([Scope.READ])
    stored = dump(resources)
    assert "page_sessions" in stored
    for token in (link, opened.token, unopened):
        assert token not in stored
        assert token.partition("_")[2] not in stored


async def test_link_is_no_cookie_and_a_cookie_no_link(client: Client, resources: Resources) -> None:
    link = await resources.sessions.make_link([Scope.ADMIN])
    assert await resources.sessions.find(link) is None
    session = await resources.sessions.open_link(link)
    with pytest.raises(Unauthenticated):
        await resources.sessions.open_link(session.token)


async def test_session_may_do_what_its_link_may(client: Client, cookie: Signed) -> None:
    headers = await cookie(Scope.READ) | OWN_PAGE
    assert (await client.get("/v1/collections", headers=headers)).status_code == 200
    reply = await client.post("/v1/collections", json={"name": "a"}, headers=headers)
    assert reply.status_code == 403
    assert "page-link --scope admin" in reply.json()["next"]


async def test_signing_out_ends_the_session_everywhere(client: Client, cookie: Signed) -> None:
    headers = await cookie() | OWN_PAGE
    reply = await client.post("/logout", headers=headers)
    assert (reply.status_code, reply.headers["location"]) == (303, "/")
    assert "max-age=0" in reply.headers["set-cookie"].lower()
    assert (await client.post("/v1/snapshots", json={}, headers=headers)).status_code == 401


async def test_signing_out_twice_is_no_error(client: Client, cookie: Signed) -> None:
    headers = await cookie() | OWN_PAGE
    assert (await client.post("/logout", headers=headers)).status_code == 303
    assert (await client.post("/logout", headers=headers)).status_code == 303


async def test_session_of_a_key_has_its_limits_and_ends_with_it(client: Client, resources: Resources) -> None:
    await resources.collections.create("notes")
    await resources.collections.create("other")
    key = await resources.keys.create("robot", [Scope.READ], ["notes"], 30)
    reply = await client.post("/login", data={"token": key.token}, headers=OWN_PAGE)
    assert reply.status_code == 303
    assert client.cookies[SESSION_COOKIE] != key.token
    holder = await resources.sessions.find(client.cookies[SESSION_COOKIE])
    assert holder is not None
    assert (holder.id, holder.rate_per_minute) == (key.info.id, 30)
    assert [made["name"] for made in (await client.get("/v1/collections")).json()["collections"]] == ["notes"]
    assert (await client.get("/v1/collections/other")).status_code == 404
    await resources.keys.revoke(key.info.id)
    assert await resources.sessions.find(client.cookies[SESSION_COOKIE]) is None


async def test_signing_in_again_ends_the_session_before(client: Client, resources: Resources) -> None:
    for _ in range(3):
        assert (await client.get(await link_path(resources))).status_code == 303
    assert len(await resources.sessions.list()) == 1


async def test_link_clicked_in_another_sites_page_leads_on(client: Client, resources: Resources) -> None:
    """A browser would not show a strict cookie to the page that it is redirected to."""
    reply = await client.get(await link_path(resources), headers={"Sec-Fetch-Site": "cross-site"})
    assert reply.status_code == 200
    assert SESSION_COOKIE in reply.headers["set-cookie"]
    assert 'href="/"' in reply.text


async def test_outside_loopback_the_cookie_opens_the_page(outside: Client, cookie: Signed) -> None:
    refused = await outside.get("/")
    assert refused.status_code == 401
    assert 'action="/login"' in refused.text
    assert (await outside.get("/", headers=await cookie(Scope.READ))).status_code == 200


async def test_wrong_key_in_the_form_is_not_shown_again(client: Client) -> None:
    reply = await client.post("/login", data={"token": "fn_" + "s" * 43}, headers=OWN_PAGE)
    assert reply.status_code == 401
    assert "s" * 43 not in reply.text


async def test_administrator_sees_and_ends_sessions(resources: Resources) -> None:
    await resources.sessions.make_link([Scope.READ], ["notes"])
    await resources.sessions.open_link(await resources.sessions.make_link([Scope.ADMIN]))
    link, session = await resources.sessions.list()
    assert (link.opened_at, link.collections) == (None, frozenset({"notes"}))
    assert session.opened_at is not None
    assert session.expires_at - session.opened_at == timedelta(days=30)
    await resources.sessions.end(link.id)
    with pytest.raises(NotFound):
        await resources.sessions.end(link.id)
    assert await resources.sessions.end_all() == 1
    assert await resources.sessions.list() == ()


async def test_link_needs_a_scope_and_real_names(resources: Resources) -> None:
    with pytest.raises(InvalidInput):
        await resources.sessions.make_link([])
    with pytest.raises(InvalidInput):
        await resources.sessions.make_link([Scope.READ], ["../notes"])
