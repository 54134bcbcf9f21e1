"""The page of releases where the settings name more than one index engine."""

from dataclasses import replace

import pytest
from httpx import AsyncClient as Client

from app.resources import Resources
from app.settings import Settings

PAGE = "/collections/garden/releases"
ENGINE = "postgresql://db.test/indexes"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, index_url="faiss postgresql://me:secret@db.test/indexes")


async def test_engine_is_chosen_in_the_form_of_the_reindex(
    admin: Client, garden: str, resources: Resources
) -> None:
    shown = (await admin.get(PAGE)).text
    assert f"<option>{ENGINE}</option>" in shown
    assert "index: faiss" in shown
    assert "secret" not in shown
    await admin.post(f"{PAGE}/reindex", data={"engine": ENGINE})
    assert (await resources.releases.get(garden, 2)).engine == ENGINE
    assert f'<td data-label="index">{ENGINE}</td>' in (await admin.get(PAGE)).text
