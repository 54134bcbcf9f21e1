import pytest

from app.services.types import Scope
from embeddings.errors import Overloaded
from tests.app.http.conftest import Client, Keys

HTML = {"accept": "text/html"}
OURS = {"sec-fetch-site": "same-origin"}


async def test_address_that_is_nothing_is_told_as_a_page_to_people(client: Client) -> None:
    reply = await client.get("/nothing<b>", headers=HTML)
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "/nothing&lt;b&gt;" in reply.text
    assert "<b>" not in reply.text


async def test_address_that_is_nothing_is_told_as_a_problem_to_programs(client: Client) -> None:
    reply = await client.get("/nothing")
    assert reply.headers["content-type"] == "application/problem+json"


async def test_failure_in_a_part_of_a_page_is_told_as_a_part(client: Client) -> None:
    sent = {"language": "xx"}
    reply = await client.post("/preferences", data=sent, headers=OURS | {"HX-Request": "true"})
    assert reply.status_code == 422
    assert "xx" in reply.text
    assert "<html" not in reply.text


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        ("", "ru-RU,ru;q=0.9,en;q=0.8", "ru"),
        ("", "de, en;q=0.5, ru;q=0.4", "en"),
        ("", "zh", "en"),
        ("en", "ru", "en"),
        ("xx", "ru", "ru"),
        ("", "ru;q=broken,en", "en"),
    ],
)
async def test_page_speaks_the_chosen_language_else_the_browsers(
    client: Client, chosen: str, accepted: str, language: str
) -> None:
    headers = (
        HTML | {"accept-language": accepted} | ({"cookie": f"footnote_language={chosen}"} if chosen else {})
    )
    reply = await client.get("/nothing", headers=headers)
    assert f'<html lang="{language}"' in reply.text


async def test_choice_of_colours_stays_and_leads_back(client: Client) -> None:
    saved = await client.post("/preferences", data={"theme": "dark", "next": "/jobs?x=1"}, headers=OURS)
    assert (saved.status_code, saved.headers["location"]) == (303, "/jobs?x=1")
    assert 'data-theme="dark"' in (await client.get("/nothing", headers=HTML)).text


@pytest.mark.parametrize("elsewhere", ["//evil.example", "https://evil.example/", "/\\evil.example", "x", ""])
async def test_choice_leads_to_no_other_site(client: Client, elsewhere: str) -> None:
    saved = await client.post("/preferences", data={"theme": "light", "next": elsewhere}, headers=OURS)
    assert saved.headers["location"] == "/"


async def test_colours_that_there_are_not_are_refused(client: Client) -> None:
    saved = await client.post("/preferences", data={"theme": "pink"}, headers=HTML | OURS)
    assert saved.status_code == 422
    assert "set-cookie" not in saved.headers


async def test_page_that_the_service_has_no_room_for_says_when_to_come_back(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Overloaded("the service is full", retry_after_s=7)

    monkeypatch.setattr("app.pages.ask._asked", full)
    reply = await client.get("/", headers=HTML)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "7")
    assert "the service is full" in reply.text


async def test_wrong_method_on_a_page_names_the_right_ones(client: Client, keys: Keys) -> None:
    reply = await client.delete("/jobs", headers=keys[Scope.ADMIN])
    assert reply.status_code == 405
    assert "GET" in reply.headers["allow"]
