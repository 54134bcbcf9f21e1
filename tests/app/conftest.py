from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.resources import Models, Resources, open_resources
from app.settings import Settings
from generation.answering import Answerer
from tests.app.hashing_encoder import HashingEncoder, write_word_tokenizer


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder of its own, and limits that a test can reach."""
    return Settings(
        home=tmp_path / "home",
        threads=1,
        max_text_bytes=100_000,
        max_file_bytes=50_000,
        max_batch_documents=50,
        busy_timeout_s=1,
    )


@pytest.fixture
def encoder() -> HashingEncoder:
    return HashingEncoder()


@pytest.fixture
def models(tmp_path: Path, encoder: HashingEncoder) -> Models:
    """The hashing encoder, a tokenizer of words, and no decoder."""
    return Models(encoder, write_word_tokenizer(tmp_path), Answerer(None, refuse_below=0.0))


@pytest.fixture
async def resources(settings: Settings, models: Models) -> AsyncIterator[Resources]:
    """The open service on an empty database."""
    async with open_resources(settings, models) as opened:
        yield opened


@pytest.fixture
async def notes(resources: Resources) -> str:
    """The name of an empty collection."""
    return (await resources.collections.create("notes")).name
