"""Requests that are larger than they should be, or become so."""

import gzip
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from app.resources import Resources
from tests.app.http.conftest import Client, Keys, application_of, assert_problem, connect
from tests.retrieval.documents import make_docx, make_zip

LIMIT = 60_000


@pytest.fixture
async def small(resources: Resources, keys: Keys) -> AsyncIterator[Client]:
    """An administrator's client of a service that takes requests of at most 60,000 bytes."""
    application = application_of(resources, replace(resources.settings, max_request_bytes=LIMIT))
    async with connect(application) as opened:
        await application.state.opening.wait_until_ready()
        opened.headers.update(keys["admin"])  # type: ignore[index]  # a scope is its text
        await opened.post("/v1/collections", json={"name": "notes"})
        yield opened


async def endless(kind: bytes) -> AsyncIterator[bytes]:
    """A body that does not say how long it is."""
    yield kind
    for _ in range(100):
        yield b" " * 10_000


@pytest.mark.parametrize(
    ("path", "headers", "begin"),
    [
        ("documents", {"Content-Type": "application/json"}, b'{"documents": ['),
        ("search", {"Content-Type": "application/json"}, b'{"query": "'),
        (
            "files",
            {"Content-Type": "multipart/form-data; boundary=x"},
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n',
        ),
    ],
)
async def test_body_without_a_length_is_cut_off_at_the_limit(
    path: str, headers: dict[str, str], begin: bytes, small: Client
) -> None:
    reply = await small.post(f"/v1/collections/notes/{path}", content=endless(begin), headers=headers)
    assert_problem(reply, 413, "body")


async def test_length_that_is_too_long_is_refused_before_it_is_read(small: Client) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": str(10**12)}
    reply = await small.post("/v1/collections/notes/documents", content=b"{}", headers=headers)
    assert_problem(reply, 413, "body")


async def test_compressed_body_is_not_unpacked(small: Client) -> None:
    """So there is no bomb in it."""
    bomb = gzip.compress(b'{"documents": [{"text": "' + b"a" * 20_000_000 + b'"}]}')
    assert len(bomb) < LIMIT
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    reply = await small.post("/v1/collections/notes/documents", content=bomb, headers=headers)
    assert reply.status_code in {400, 415}


async def test_thousands_of_parts_are_refused(small: Client) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n'
    body = part * (LIMIT // len(part) - 1) + b"--x--\r\n"
    assert len(body) < LIMIT
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = await small.post("/v1/collections/notes/files", content=body, headers=headers)
    assert 400 <= reply.status_code < 500


async def test_key_is_asked_for_before_a_body_is_read(small: Client) -> None:
    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        raise AssertionError("the body was read")

    headers = {"Content-Type": "application/json", "Authorization": "Bearer fn_unknown"}
    reply = await small.post("/v1/collections/notes/documents", content=never(), headers=headers)
    assert_problem(reply, 401, "Authorization")


async def test_bomb_fails_alone_among_files(garden: str, admin: Client) -> None:
    """Beside it a whole file is taken."""
    entities = '<!DOCTYPE d [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]><d>&b;</d>'
    files = [
        ("file", ("bomb.docx", make_zip({"word/document.xml": entities}), "application/octet-stream")),
        (
            "file",
            ("good.docx", make_docx([("Normal", "Leeks stand until spring.")]), "application/octet-stream"),
        ),
    ]
    reply = await admin.post("/v1/collections/garden/files", files=files)
    bomb, good = reply.json()["items"]
    assert (bomb["status"], bomb["code"]) == ("error", "unreadable")
    assert good["status"] == "created"


async def test_text_that_is_too_long_fails_alone(garden: str, admin: Client) -> None:
    files = [
        ("file", ("long.txt", b"a " * 40_000, "text/plain")),
        ("file", ("good.txt", b"Leeks stand until spring.", "text/plain")),
    ]
    reply = await admin.post("/v1/collections/garden/files", files=files)
    assert [item["status"] for item in reply.json()["items"]] == ["error", "created"]
