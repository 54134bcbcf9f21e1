"""What the service and the command line work with, opened and closed in one place."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from anyio import to_thread
from threadpoolctl import threadpool_limits

from app.building import Builder
from app.builds import SHARED_KEPT_S, BuildStore
from app.data_folder import prepare_database
from app.db.collections import all_collections
from app.db.engine import Database
from app.db.identity import database_id, index_id
from app.decoders import load_decoder
from app.encoders import AbsentEncoder, EncoderLoader, Encoders, LoadedEncoder, load_encoder
from app.engines import IndexEngines, engines_of
from app.indexes import Indexes
from app.jobs.service import JobService
from app.services.answers import AnswerService
from app.services.chat import ChatService
from app.services.classification import ClassificationService
from app.services.collections import CollectionService
from app.services.conversations import ConversationService
from app.services.documents import DocumentService
from app.services.encoding import Encoding, TextEncoder
from app.services.feedback import FeedbackService
from app.services.ingest import Ingest
from app.services.kept_conversations import KeptConversations
from app.services.keys import KeyService
from app.services.mapping import MappingService
from app.services.playground import PlaygroundService
from app.services.query_log import QueryLog
from app.services.reclaiming import Reclaimer
from app.services.releases import ReleaseService
from app.services.reranking import Reranking, TextReranker
from app.services.search import SearchService
from app.services.sessions import SessionService
from app.services.stats import StatsService
from app.services.training import TrainingService
from app.settings import Settings
from embeddings.artifact import TOKENIZER
from embeddings.reranker import Reranker
from generation.answering import NEVER_REFUSE, Answerer
from generation.causal.chat import ChatModel
from generation.causal.engine import CausalEngine
from generation.causal.rewriting import QuestionRewriter
from generation.types import Reader

BUILDS = "indexes"
_NO_ANSWERER = Answerer(None, refuse_below=NEVER_REFUSE)
# Python's own is ten times as long.
SWITCH_INTERVAL_S = 0.0005


@dataclass(frozen=True, slots=True)
class Models:
    """The models that the settings name.

    tokenizer: the encoder's tokenizer.json, in whose tokens chunks are measured. load_encoder: loads the
    encoder of a release that names its own. reranker: None where the settings name none. chat: None where the
    decoder only copies answers. answers_at_once: questions that the answerer takes at a time. engine: that is
    closed with the service.
    """

    encoder: TextEncoder
    tokenizer: Path
    answerer: Answerer
    load_encoder: EncoderLoader = load_encoder
    reranker: TextReranker | None = None
    chat: ChatModel | None = None
    answers_at_once: int = 1
    engine: CausalEngine | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    """The open service."""

    settings: Settings
    database: Database
    models: Models
    encoders: Encoders
    engines: IndexEngines
    indexes: Indexes
    builder: Builder
    collections: CollectionService
    documents: DocumentService
    search: SearchService
    reranking: Reranking
    answers: AnswerService
    chat: ChatService
    conversations: ConversationService
    keys: KeyService
    sessions: SessionService
    releases: ReleaseService
    reclaimer: Reclaimer
    jobs: JobService
    classification: ClassificationService
    feedback: FeedbackService
    training: TrainingService
    mapping: MappingService
    playground: PlaygroundService
    query_log: QueryLog
    stats: StatsService

    @property
    def encoding(self) -> Encoding:
        """The encoder that the settings name."""
        return self.encoders.default.encoding

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


def load_models(settings: Settings) -> Models:
    """The models that the settings name. Raises ModelDamaged."""
    found, decoder = load_retrieval_models(settings), load_decoder(settings)
    return replace(
        found,
        answerer=decoder.answerer,
        chat=decoder.chat,
        answers_at_once=decoder.at_once,
        engine=decoder.engine,
    )


def load_retrieval_models(settings: Settings) -> Models:
    """Encoder and reranker, for work that answers nothing. Raises ModelDamaged."""
    loaded, folder = load_encoder(settings.encoder), settings.reranker
    reranker = None if folder is None else Reranker.load(folder, settings.threads)
    return Models(loaded.encoder, loaded.tokenizer, _NO_ANSWERER, reranker=reranker)


def no_models(settings: Settings) -> Models:
    """For work that only looks at what is stored, or removes some of it."""
    encoder = cast(TextEncoder, AbsentEncoder())
    return Models(encoder, settings.encoder / TOKENIZER, _NO_ANSWERER)


@asynccontextmanager
async def open_resources(
    settings: Settings, models: Models | None = None, load: Callable[[Settings], Models] = load_models
) -> AsyncIterator[Resources]:
    """Open the data folder, bring its database up to date and load the models.

    models: in place of those that `load` would load. Several processes may have the folder open at once:
    SQLite orders their writes, and each process's indexes follow.
    Raises InvalidInput or StorageFull for a folder that cannot be used, Conflict for a database of a newer
    version, ModelDamaged for a model.
    """
    await prepare_database(settings)
    loaded = await to_thread.run_sync(load, settings) if models is None else models
    database = Database(settings.database, settings.busy_timeout_s)
    builds = await _open_builds(settings, database)
    engines = await _name_engines(settings, database)
    resources = _compose(settings, database, builds, engines, loaded)
    try:
        yield resources
    finally:
        await resources.query_log.close()
        await resources.mapping.close()
        await to_thread.run_sync(resources.playground.close)
        await to_thread.run_sync(resources.builder.close)
        await resources.indexes.close()
        await to_thread.run_sync(engines.close)
        await to_thread.run_sync(resources.encoders.close)
        await to_thread.run_sync(resources.classification.close)
        await to_thread.run_sync(resources.answers.close)
        if models is None and loaded.engine is not None:  # those that were given are still its owner's
            await to_thread.run_sync(loaded.engine.close)
        await to_thread.run_sync(builds.close)
        await database.close()


async def _open_builds(settings: Settings, database: Database) -> BuildStore:
    """The builds of this data folder, without what ended processes and deleted collections left behind."""
    kept_s = 0.0 if settings.database.is_sqlite else SHARED_KEPT_S
    async with database.read() as connection:
        builds = BuildStore(settings.home / BUILDS, await database_id(connection), kept_s)
    await to_thread.run_sync(builds.sweep)
    reached = await to_thread.run_sync(builds.reached)
    async with database.read() as connection:
        last_seqs = {collection.id: collection.last_seq for collection in await all_collections(connection)}
    await to_thread.run_sync(builds.remove_foreign, reached, last_seqs)
    return builds


async def _name_engines(settings: Settings, database: Database) -> IndexEngines:
    """The engines of the settings, none of which is asked for anything yet. Raises InvalidInput."""
    async with database.read() as connection:
        return engines_of(settings, await index_id(connection))


def _compose(
    settings: Settings, database: Database, builds: BuildStore, engines: IndexEngines, models: Models
) -> Resources:
    prepare_process()
    defaults = None if models.engine is None else models.engine.spec.defaults
    encoders = Encoders(settings, LoadedEncoder(models.encoder, models.tokenizer), models.load_encoder)
    indexes = Indexes(database, encoders, builds, engines)
    collections = CollectionService(database, encoders, engines)
    reranking = Reranking(models.reranker, encoders.default.encoding)
    search = SearchService(database, indexes, settings, reranking)
    rewriter = None if models.chat is None else QuestionRewriter(models.chat)
    answers = AnswerService(search, collections, models.answerer, settings, models.answers_at_once, rewriter)
    chat = ChatService(models.chat, answers, defaults)
    return Resources(
        settings=settings,
        database=database,
        models=models,
        encoders=encoders,
        engines=engines,
        indexes=indexes,
        builder=Builder(indexes, builds, database),
        collections=collections,
        documents=DocumentService(database, Ingest(database, encoders), settings),
        search=search,
        reranking=reranking,
        answers=answers,
        chat=chat,
        conversations=ConversationService(KeptConversations(database), answers),
        keys=KeyService(database),
        sessions=SessionService(database),
        releases=ReleaseService(database, encoders, engines, indexes),
        reclaimer=Reclaimer(database, engines),
        jobs=JobService(database, settings),
        classification=ClassificationService(settings, encoders.default.encoding, models.load_encoder),
        feedback=FeedbackService(database, settings),
        training=TrainingService(database, settings),
        mapping=MappingService(database, indexes),
        playground=PlaygroundService(search, collections, models.answerer, chat),
        query_log=QueryLog(database, settings),
        stats=StatsService(database, settings),
    )


def prepare_process() -> None:
    """Set what holds for all threads of the process, so that none of them keeps a query waiting."""
    # A thread that works in Python, such as one that cuts documents, keeps a query waiting for as long.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # A query's matrix products are small. BLAS would hand each to all cores and let them spin until the next:
    # 25 ms of CPU time a hybrid search in place of 9, and as much less for its neighbours.
    threadpool_limits(1, user_api="blas")
    # The tokenizers' own threads would run beside the engine's, and not give way as those of its bulk lane.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
