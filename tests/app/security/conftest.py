from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from app.http.access import SESSION_COOKIE
from app.resources import Resources
from app.services.types import Scope
from tests.app.http.conftest import (
    Client,
    admin,
    application,
    application_of,
    client,
    connect,
    garden,
    keys,
    models,
    post,
    reader,
)

__all__ = ["admin", "application", "client", "garden", "keys", "models", "post", "reader"]

# What a browser says of a call by a page of the service itself.
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
Signed = Callable[..., Awaitable[dict[str, str]]]


@pytest.fixture
async def outside(resources: Resources) -> AsyncIterator[Client]:
    """A client without a key, of a service that other machines can reach."""
    application = application_of(resources, replace(resources.settings, host="0.0.0.0"))  # noqa: S104
    async with connect(application, "http://search.example") as opened:
        await application.state.opening.wait_until_ready()
        yield opened


@pytest.fixture
def cookie(resources: Resources) -> Signed:
    """Makes the headers of a browser that has opened a link."""

    async def sign_in(scope: Scope = Scope.ADMIN, collections: list[str] | None = None) -> dict[str, str]:
        link = await resources.sessions.make_link([scope], collections)
        session = await resources.sessions.open_link(link)
        return {"Cookie": f"{SESSION_COOKIE}={session.token}"}

    return sign_in
