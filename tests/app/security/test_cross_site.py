"""What a page of another site makes a visitor's browser do."""

from pathlib import Path

import pytest

from app.services.types import Scope
from tests.app.http.conftest import LOOPBACK, Client, Keys, assert_problem
from tests.app.security.conftest import Signed

NEW = {"name": "notes"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        # Another port of this machine is the same site, so a strict cookie is sent along.
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:3000"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": LOOPBACK},
        {},
    ],
)  # fmt: skip
async def test_call_from_elsewhere_is_refused_the_cookie(
    headers: dict[str, str], client: Client, cookie: Signed
) -> None:
    reply = await client.post("/v1/collections", json=NEW, headers=await cookie() | headers)
    assert_problem(reply, 403, "Origin")
    assert (await client.get("/v1/collections/notes")).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": LOOPBACK}],
)
async def test_call_from_the_own_page_is_taken(
    headers: dict[str, str], client: Client, cookie: Signed
) -> None:
    reply = await client.post("/v1/collections", json=NEW, headers=await cookie() | headers)
    assert reply.status_code == 201


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_every_method_that_changes_is_protected(
    method: str, garden: str, client: Client, cookie: Signed
) -> None:
    del client.headers["authorization"]
    headers = await cookie() | {"Origin": "https://evil.example"}
    reply = await client.request(method, f"/v1/collections/{garden}", json={}, headers=headers)
    assert reply.status_code in {403, 405}
    assert (await client.get(f"/v1/collections/{garden}")).status_code == 200


async def test_key_in_a_header_needs_no_origin(client: Client, keys: Keys) -> None:
    """No page can make a browser send it."""
    headers = keys[Scope.ADMIN] | {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert (await client.post("/v1/collections", json=NEW, headers=headers)).status_code == 201


async def test_key_in_a_header_wins_over_a_cookie(client: Client, keys: Keys, cookie: Signed) -> None:
    headers = await cookie(Scope.ADMIN) | keys[Scope.READ] | {"Sec-Fetch-Site": "same-origin"}
    assert (await client.post("/v1/collections", json=NEW, headers=headers)).status_code == 403


async def test_cookie_counts_beside_a_proxys_own_scheme(client: Client, cookie: Signed) -> None:
    """A proxy that asks for a password sends Authorization: Basic with everything."""
    proxied = {"Authorization": "Basic YTpi", "Sec-Fetch-Site": "same-origin"}
    reply = await client.post("/v1/collections", json=NEW, headers=await cookie() | proxied)
    assert reply.status_code == 201


async def test_proxys_own_scheme_is_no_way_around_the_origin(client: Client, cookie: Signed) -> None:
    proxied = {"Authorization": "Basic YTpi", "Sec-Fetch-Site": "cross-site"}
    reply = await client.post("/v1/collections", json=NEW, headers=await cookie() | proxied)
    assert_problem(reply, 403, "Origin")


@pytest.mark.parametrize("path", ["/login", "/logout", "/preferences"])
async def test_no_other_site_signs_a_visitor_in_or_out(path: str, client: Client) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    reply = await client.post(path, data={"token": "fnlink_a", "theme": "dark"}, headers=headers)
    assert reply.status_code == 403
    assert "set-cookie" not in reply.headers


async def test_no_page_may_be_framed_or_run_foreign_scripts(client: Client) -> None:
    for path in ("/", "/login", "/schema", "/v1/collections"):
        policy = (await client.get(path)).headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


async def test_no_cache_keeps_what_one_caller_may_read(client: Client, cookie: Signed) -> None:
    for path in ("/", "/collections", "/v1/collections", "/login"):
        told = (await client.get(path, headers=await cookie())).headers
        assert "private" in told["cache-control"] or "no-store" in told["cache-control"], path
        assert told["cross-origin-opener-policy"] == "same-origin"


@pytest.mark.parametrize(
    "next_page",
    ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "javascript:x"],
)
async def test_no_form_leads_a_visitor_away(next_page: str, client: Client) -> None:
    form = {"theme": "dark", "next": next_page}
    reply = await client.post("/preferences", data=form, headers={"Sec-Fetch-Site": "same-origin"})
    assert (reply.status_code, reply.headers["location"]) == (303, "/")


def test_templates_keep_scripts_and_styles_in_files() -> None:
    """What stands inline, the policy would not run."""
    templates = Path(__file__).parents[3] / "app/pages/templates"
    for template in templates.rglob("*.html"):
        text = template.read_text("utf-8")
        assert " style=" not in text, template.name
        assert " onclick=" not in text, template.name
        assert "<script>" not in text, template.name
        assert "|safe" not in text.replace(" ", ""), template.name
