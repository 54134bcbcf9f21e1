"""What the service and the command line work with, opened and closed in one place."""

import logging
import os
import sys
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
from embeddings.engine import EncoderEngine
from embeddings.errors import InvalidInput
from generation.answering import Answerer
from generation.artifact import BUNDLED_DECODER
from generation.decoder import Decoder
from generation.reader import GroundedReader
from generation.types import Reader

# Python's own is ten times as long.
SWITCH_INTERVAL_S = 0.0005

logger = logging.getLogger("footnote.resources")


@dataclass(frozen=True, slots=True)
class Models:
    """The models in service. tokenizer: the encoder's tokenizer.json, in whose tokens chunks are measured."""

    encoder: TextEncoder
    tokenizer: Path
    answerer: Answerer


@dataclass(frozen=True, slots=True)
class Resources:
    """The open service."""

    settings: Settings
    database: Database
    models: Models
    encoding: Encoding
    indexes: Indexes
    collections: CollectionService
    documents: DocumentService
    search: SearchService
    answers: AnswerService
    keys: KeyService

    @property
    def answerer(self) -> Answerer:
        """What answers from passages that are at hand."""
        return self.models.answerer

    @property
    def reader(self) -> Reader | None:
        """The decoder, as a reader; None where none is installed."""
        return self.models.answerer.reader

    async def warm(self) -> None:
        """Load the index of every collection, so that no first search has to."""
        await self.indexes.follow_all()


@asynccontextmanager
async def open_resources(settings: Settings, models: Models | None = None) -> AsyncIterator[Resources]:
    """Open the data folder, bring its database up to date and load the models.

    models: in place of those that the settings name. Several processes may have the folder open at once:
    SQLite orders their writes, and each process's indexes follow.
    Raises InvalidInput or StorageFull for a folder that cannot be used, Conflict for a database of a newer
    version, ModelDamaged for a model.
    """
    await to_thread.run_sync(_make_home, settings.home)
    await to_thread.run_sync(apply_migrations, settings.database, settings.busy_timeout_s)
    loaded = await to_thread.run_sync(load_models, settings) if models is None else models
    database = Database(settings.database, settings.busy_timeout_s)
    resources = _compose(settings, database, loaded)
    try:
        yield resources
    finally:
        await to_thread.run_sync(resources.encoding.engine.close)
        await to_thread.run_sync(resources.answers.close)
        await database.close()


def load_models(settings: Settings) -> Models:
    """The models that the settings name. Raises ModelDamaged."""
    # One thread for a run: as many runs as there may be threads go on at a time.
    encoder = Encoder.load(settings.encoder, threads=1)
    return Models(encoder, settings.encoder / TOKENIZER, _load_answerer(settings))


def _load_answerer(settings: Settings) -> Answerer:
    if settings.decoder == BUNDLED_DECODER and not (settings.decoder / MANIFEST).is_file():
        logger.warning("no decoder is bundled with this copy of Footnote: answers will be passages only")
        return Answerer(None, refuse_below=0.0)
    reader = GroundedReader(Decoder.load(settings.decoder, settings.threads))
    return Answerer(reader, refuse_below=reader.refuse_below)


def _compose(settings: Settings, database: Database, models: Models) -> Resources:
    encoding = Encoding(models.encoder, _engine(settings, models.encoder))
    indexes = Indexes(database, encoding)
    collections = CollectionService(database, _passage_tokens(models.encoder))
    search = SearchService(database, encoding, indexes, settings)
    return Resources(
        settings=settings,
        database=database,
        models=models,
        encoding=encoding,
        indexes=indexes,
        collections=collections,
        documents=DocumentService(database, Ingest(database, encoding, models.tokenizer), settings),
        search=search,
        answers=AnswerService(search, collections, models.answerer, settings),
        keys=KeyService(database),
    )


def _passage_tokens(encoder: TextEncoder) -> int:
    """Tokens of a passage that the encoder sees, without those that it adds: its prompt and special ones."""
    (added,) = encoder.tokenize([encoder.spec.prompts.get("passage", "")], "", "start")
    return encoder.max_tokens - added.count


def prepare_process() -> None:
    """Set what holds for all threads of the process, so that none of them keeps a query waiting."""
    # A thread that works in Python, such as one that cuts documents, keeps a query waiting for as long.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # The tokenizers' own threads would run beside the engine's, and not give way as those of its bulk lane.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _engine(settings: Settings, encoder: TextEncoder) -> EncoderEngine:
    prepare_process()
    return EncoderEngine(encoder, settings.threads, settings.max_waiting_texts, settings.max_waiting_queries)


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
