"""What tests of the chat routes share: the official client, and one turn of a user."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from litestar import Litestar
from openai import AsyncOpenAI

from tests.app.http.conftest import LOOPBACK


@asynccontextmanager
async def official_client(application: Litestar) -> AsyncIterator[AsyncOpenAI]:
    """OpenAI's client, straight on the application."""
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(application))
    async with AsyncOpenAI(
        api_key="none", base_url=f"{LOOPBACK}/v1", max_retries=0, http_client=http
    ) as opened:
        yield opened


def user(content: Any) -> Any:
    """A turn of the user, also one that the client's types do not know."""
    return {"role": "user", "content": content}
