"""What the service and the command line work with, opened and closed in one place."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from anyio import to_thread

from app.db.engine import Database
from app.db.migrations import apply_migrations
from app.indexes import Indexes
from app.services.answers import AnswerService
from app.services.collections import CollectionService
from app.services.documents import DocumentService
from app.services.encoding import Encoding, TextEncoder
from app.services.ingest import Ingest
from app.services.keys import KeyService
from app.services.search import SearchService
from app.settings import Settings
from embeddings.artifact import MANIFEST, TOKENIZER
from embeddings.encoder import Encoder
from embeddings.errors import InvalidInput
from generation.answering import Answerer
from generation.types import Reader

# [CLS] and [SEP], which the encoder adds to each text and the chunker does not count.
SPECIAL_TOKENS = 2

logger = logging.getLogger("footnote.resources")


@dataclass(frozen=True, slots=True)
class Resources:
    """The open service. reader: None where no decoder is installed."""

    settings: Settings
    database: Database
    encoder: TextEncoder
    reader: Reader | None
    indexes: Indexes
    collections: CollectionService
    documents: DocumentService
    search: SearchService
    answers: AnswerService
    keys: KeyService

    async def warm(self) -> None:
        """Load the index of every collection, so that no first search has to."""
        await self.indexes.follow_all()


@asynccontextmanager
async def open_resources(settings: Settings, encoder: TextEncoder | None = None) -> AsyncIterator[Resources]:
    """Open the data folder, bring its database up to date and load the models.

    encoder: in place of the one that the settings name; chunks are still measured with that one's tokenizer.
    Several processes may have the folder open at once: SQLite orders their writes, and indexes follow.
    Raises InvalidInput or StorageFull for a folder that cannot be used, Conflict for a database of a newer
    version, ModelDamaged for a model.
    """
    await to_thread.run_sync(_make_home, settings.home)
    await to_thread.run_sync(apply_migrations, settings.database, settings.busy_timeout_s)
    loaded = encoder or await to_thread.run_sync(Encoder.load, settings.encoder, settings.threads)
    reader = await to_thread.run_sync(_load_reader, settings)
    database = Database(settings.database, settings.busy_timeout_s)
    resources = _compose(settings, database, loaded, reader)
    try:
        yield resources
    finally:
        await to_thread.run_sync(resources.answers.close)
        await database.close()


def _compose(
    settings: Settings, database: Database, encoder: TextEncoder, reader: Reader | None
) -> Resources:
    encoding = Encoding(encoder)
    indexes = Indexes(database, encoding)
    collections = CollectionService(database, encoder.max_tokens - SPECIAL_TOKENS)
    search = SearchService(database, encoding, indexes, settings)
    ingest = Ingest(database, encoding, settings.encoder / TOKENIZER)
    return Resources(
        settings=settings,
        database=database,
        encoder=encoder,
        reader=reader,
        indexes=indexes,
        collections=collections,
        documents=DocumentService(database, ingest, settings),
        search=search,
        answers=AnswerService(search, collections, Answerer(reader, refuse_below=0.5), settings),
        keys=KeyService(database),
    )


def _load_reader(settings: Settings) -> Reader | None:
    """The decoder of the settings; None, and a warning, when its folder holds none."""
    if not (settings.decoder / MANIFEST).is_file():
        logger.warning("no decoder in %s: answers will be passages only", settings.decoder)
        return None
    raise NotImplementedError


def _make_home(home: Path) -> None:
    """Make the data folder, for this user only: it holds every document. Raises InvalidInput, StorageFull."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(home, error.strerror or str(error)) from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise _unusable(home, "this user may not write to it")


def _unusable(home: Path, reason: str) -> InvalidInput:
    return InvalidInput(
        f"cannot use the data folder {home}: {reason}",
        field="FOOTNOTE_HOME",
        found=reason,
        expected="a folder that this user may write",
        next_step="correct its permissions, or set FOOTNOTE_HOME to another folder",
    )
