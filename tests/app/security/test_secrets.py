"""Keys, links, cookies and the decoder's key come into no log, no error and no page."""

import logging
from dataclasses import replace
from typing import Any

import pytest

from app.http.access import SESSION_COOKIE
from app.resources import Resources
from app.services.types import Scope
from app.settings import Settings
from generation.causal.remote import RemoteAddress
from tests.app.http.conftest import Client, application_of, connect
from tests.app.security.conftest import OWN_PAGE

DECODER_KEY = "sk-decoder-0123456789abcdef"


class Broken:
    """Fails with whatever it was called with, as a careless library does."""

    def __getattr__(self, name: str) -> Any:
        async def fail(*given: Any, **named: Any) -> Any:
            raise ZeroDivisionError(f"cannot {name}")

        return fail


async def test_no_secret_reaches_the_log(resources: Resources, caplog: pytest.LogCaptureFixture) -> None:
    """Everything at every level, before anything is redacted: good and bad keys, links, cookies, failures."""
    key = (await resources.keys.create("robot", [Scope.ADMIN])).token
    link = await resources.sessions.make_link([Scope.ADMIN])
    unknown = "fn_" + "u" * 43
    broken = replace(resources, search=Broken())  # type: ignore[arg-type]
    application = application_of(broken, replace(resources.settings, decoder_key=DECODER_KEY))
    with caplog.at_level(logging.DEBUG):
        async with connect(application) as client:
            await application.state.opening.wait_until_ready()
            # httpx is the test's own client; it is no part of the service.
            logging.getLogger("httpx").setLevel(logging.WARNING)
            logging.getLogger("httpcore").setLevel(logging.WARNING)
            await client.get("/login", params={"token": link})
            session = client.cookies[SESSION_COOKIE]
            await client.get("/login", params={"token": link})
            await client.post("/login", data={"token": key}, headers=OWN_PAGE)
            await client.get("/v1/nowhere", params={"token": link, "api_key": key})
            for token in (key, unknown):
                headers = {"Authorization": f"Bearer {token}"}
                await client.post("/v1/collections", json={"name": "garden"}, headers=headers)
                failed = await client.post(
                    "/v1/collections/garden/search", json={"query": "a"}, headers=headers
                )
            assert failed.status_code in {401, 500}
            await client.post("/v1/collections/garden/search", json={"query": "a"})
            secrets = {key, link, unknown, session, client.cookies[SESSION_COOKIE], DECODER_KEY}
    told = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    assert "cannot search" in told
    for secret in secrets:
        assert secret not in told
        assert secret.partition("_")[2] not in told or "_" not in secret


async def test_questions_and_documents_reach_no_log_by_a_failing_database(
    garden: str, resources: Resources, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with resources.database.write() as connection:
            with pytest.raises(Exception) as caught:  # noqa: PT011  whatever the driver raises
                await connection.exec_driver_sql("INSERT INTO documents VALUES (?)", ("my private words",))
    assert "my private words" not in str(caught.value)


def test_settings_and_addresses_do_not_show_the_decoders_key(resources: Resources) -> None:
    assert DECODER_KEY not in repr(replace(resources.settings, decoder_key=DECODER_KEY))
    assert DECODER_KEY not in repr(Settings(decoder_key=DECODER_KEY))
    assert DECODER_KEY not in repr(RemoteAddress("http://127.0.0.1:9/v1", "m", DECODER_KEY))


async def test_no_reply_tells_a_hash_or_a_secret(garden: str, admin: Client, resources: Resources) -> None:
    key = await resources.keys.create("robot", [Scope.READ])
    for path in ("/v1/collections", "/v1/models", "/info", "/v1/admin/stats", "/", "/models", "/jobs"):
        reply = await admin.get(path)
        assert reply.status_code == 200, path
        assert "fn_" not in reply.text
        assert key.token not in reply.text
        assert "token_hash" not in reply.text


async def test_page_with_a_token_in_its_address_tells_it_to_nobody(client: Client) -> None:
    """No page that another site could read the address of by a Referer."""
    reply = await client.get("/login", params={"token": "fnlink_used"})
    assert reply.headers["referrer-policy"] in {"same-origin", "no-referrer"}
    assert reply.headers["cache-control"] in {"private, no-cache", "no-store"}
