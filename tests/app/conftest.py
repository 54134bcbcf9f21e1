import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.db.migrations import apply_migrations
from app.resources import Models, Resources, open_resources
from app.settings import Settings
from generation.answering import Answerer
from tests.app.hashing_encoder import HashingEncoder, write_word_tokenizer
from tests.engines.postgres_fixtures import migrated_database, migrated_url, postgres_databases

__all__ = ["migrated_database", "migrated_url", "postgres_databases"]


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str | None:
    """None: SQLite. With FOOTNOTE_TEST_DATABASE=postgresql: a database of a server that the tests start."""
    if os.environ.get("FOOTNOTE_TEST_DATABASE") != "postgresql":
        return None
    return str(request.getfixturevalue("migrated_url"))


@pytest.fixture
def sqlite_only(database_url: str | None) -> None:
    """For tests of what only a file can do."""
    if database_url is not None:
        pytest.skip("it is about SQLite's own file")


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    """A data folder of its own, and limits that a test can reach."""
    return Settings(
        home=tmp_path / "home",
        database_url=database_url,
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


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database with all tables. Copied, because to migrate one takes five times as long."""
    path = tmp_path_factory.mktemp("migrated") / "footnote.db"
    apply_migrations(path, 10)
    return path


@pytest.fixture
async def resources(settings: Settings, models: Models, migrated_file: Path) -> AsyncIterator[Resources]:
    """The open service on an empty database."""
    if settings.database_url is None:
        settings.home.mkdir(mode=0o700, exist_ok=True)
        shutil.copy(migrated_file, settings.home)
    async with open_resources(settings, models) as opened:
        yield opened


@pytest.fixture
async def notes(resources: Resources) -> str:
    """The name of an empty collection."""
    return (await resources.collections.create("notes")).name
