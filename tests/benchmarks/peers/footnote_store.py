"""Footnote as the service holds it: SQL, the index that follows it, a sealed build; searched by its search
service, which reads every hit from SQL. Only HTTP and the encoder are left out: the peers have neither.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from store_contract import ALLOWED_BUCKETS, LIMIT, SEARCHABLE, Corpus, Effort, Question

from app.builds import BuildStore
from app.db.identity import database_id
from app.db.releases import find_served
from app.db.writing import write_documents
from app.resources import BUILDS, Models, Resources, open_resources
from app.services.types import SearchInput
from app.settings import Settings
from embeddings.artifact import BUNDLED_ENCODER, TOKENIZER, load_manifest
from embeddings.coverage import VocabularyCoverage
from embeddings.tokens import Keep, TokenIds, TokenizedText, read_tokenizer
from generation.answering import Answerer
from retrieval.builds.sealing import SealOptions
from retrieval.types import SearchMode
from tests.benchmarks.scale_http import COLLECTION, document_rows

BATCH = 1_000  # documents of one request, as the service allows
FILTER = {"bucket": {"$lt": ALLOWED_BUCKETS}}


class KnownVectors:
    """An encoder that was told the vectors of all questions that it will see."""

    def __init__(self) -> None:
        self.manifest = load_manifest(BUNDLED_ENCODER)
        self.spec = self.manifest.encoder
        self.model_id = self.manifest.model_id
        self.dimension, self.max_tokens = self.spec.dimension, self.spec.max_tokens
        self._coverage = VocabularyCoverage(read_tokenizer(BUNDLED_ENCODER / TOKENIZER))
        self._numbers: dict[str, int] = {}
        self._vectors: list[NDArray[np.float32]] = []

    def learn(self, question: Question) -> None:
        """Know this question from now on."""
        self._numbers.setdefault(question.text, len(self._vectors))
        self._vectors.append(question.vector)

    def tokenize(self, texts: Sequence[str], prompt: str, keep: Keep) -> list[TokenizedText]:
        """The question's number in place of tokens; -1 for another text, which nobody may then encode."""
        return [TokenizedText(np.array([self._numbers.get(text, -1)], np.int32), 1) for text in texts]

    def run(self, batch: Sequence[TokenIds]) -> NDArray[np.float32]:
        return np.stack([self._vectors[int(ids[0])] for ids in batch])

    def vocabulary_coverage(self, text: str) -> float:
        return self._coverage.share(text)


class Store:
    efforts = ({},)
    filtered_efforts = ({},)
    finds_words = True

    def __init__(self, folder: Path, threads: int, variant: str) -> None:
        self._settings, self._threads = Settings(home=folder, threads=threads), threads
        self._runner, self._encoder = asyncio.Runner(), KnownVectors()
        self._stack = AsyncExitStack()
        self._resources: Resources | None = None
        self._known: set[str] = set()

    def fill(self, corpus: Corpus) -> Iterator[str]:
        with self._runner as runner:
            resources = runner.run(self._stack.enter_async_context(self._opened()))
            runner.run(_write(resources, corpus))
            yield "written"
            runner.run(resources.indexes.follow(COLLECTION))
            yield SEARCHABLE
            runner.run(_build(resources, self._threads))
            runner.run(self._stack.aclose())
        yield "built"

    def open(self) -> None:
        self._resources = self._runner.run(self._stack.enter_async_context(self._opened()))

    def dense(self, question: Question, effort: Effort) -> list[int]:
        return self._search(question, SearchInput(question.text, SearchMode.DENSE, LIMIT))

    def filtered(self, question: Question, effort: Effort) -> list[int]:
        return self._search(question, SearchInput(question.text, SearchMode.DENSE, LIMIT, filter=FILTER))

    def hybrid(self, question: Question, effort: Effort) -> list[int]:
        return self._search(question, SearchInput(question.text, SearchMode.HYBRID, LIMIT))

    def _opened(self) -> AbstractAsyncContextManager[Resources]:
        models = Models(self._encoder, BUNDLED_ENCODER / TOKENIZER, Answerer(None, refuse_below=0.0))
        return open_resources(self._settings, models)

    def _search(self, question: Question, wanted: SearchInput) -> list[int]:
        assert self._resources is not None
        if question.text not in self._known:
            self._known.add(question.text)
            self._encoder.learn(question)
        found = self._runner.run(self._resources.search.search(COLLECTION, wanted))
        return [int(hit.document_id.removeprefix("text-")) for hit in found.hits]


async def _write(resources: Resources, corpus: Corpus) -> None:
    await resources.collections.create(COLLECTION)
    vectors = corpus.vectors.astype(np.float16)
    for batch in corpus.batches(BATCH):
        async with resources.database.write() as connection:
            collection, release = await find_served(connection, COLLECTION)
            await write_documents(
                connection, collection, list(document_rows(corpus.texts.__getitem__, vectors, batch, release))
            )


async def _build(resources: Resources, threads: int) -> None:
    """Seal the index and go on from the build, as the service's builder does beside its searches, but not on
    its one thread that gives way to all others of the machine.
    """
    async with resources.database.read() as connection:
        builds = BuildStore(resources.settings.home / BUILDS, await database_id(connection))
    for wanted, index in resources.indexes.held().items():
        origin = builds.origin(wanted.collection_id, wanted.chunking, wanted.model_id)
        directory = builds.seal(index, origin, SealOptions(threads))
        await resources.indexes.replace(wanted, builds.open_build(directory))
    builds.close()
