from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.resources import Resources, open_resources
from app.settings import Settings
from tests.app.hashing_encoder import HashingEncoder, write_word_tokenizer


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder of its own, a tokenizer of words, and no decoder."""
    models = tmp_path / "models"
    models.mkdir()
    write_word_tokenizer(models)
    small = Settings(home=tmp_path / "home", encoder=models, decoder=models / "none", threads=1)
    return replace(small, max_text_bytes=100_000, max_file_bytes=50_000, max_batch_documents=50)


@pytest.fixture
def encoder() -> HashingEncoder:
    return HashingEncoder()


@pytest.fixture
async def resources(settings: Settings, encoder: HashingEncoder) -> AsyncIterator[Resources]:
    """The open service on an empty database, with the hashing encoder."""
    async with open_resources(settings, encoder) as opened:
        yield opened


@pytest.fixture
async def notes(resources: Resources) -> str:
    """The name of an empty collection."""
    return (await resources.collections.create("notes")).name
