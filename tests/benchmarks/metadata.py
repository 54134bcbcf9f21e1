"""What the metadata database costs: writes a second, and the time of what a search reads of it.

    python -m tests.benchmarks metadata --database sqlite
    python -m tests.benchmarks metadata --database postgresql
    python -m tests.benchmarks metadata --database postgresql://user:password@host/empty_database

"postgresql" starts a server of its own, whose commits wait for the disk as SQLite's do. Documents are small
and have a vector of 384 dimensions; no encoder takes part.
"""

import asyncio
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import find_collection
from app.db.documents import DocumentRow
from app.db.hydration import hydrate_now
from app.db.listing import list_documents
from app.db.writing import write_documents
from app.resources import Models, Resources, open_resources
from app.settings import Settings
from generation.answering import Answerer
from retrieval.types import ChunkSpan, RankedChunk, RankedList
from tests.app.hashing_encoder import HashingEncoder, write_word_tokenizer
from tests.engines.postgres_server import PostgresServer

BUSY_TIMEOUT_S = 60
WAITING = 64
BATCH = 500
DIMENSION = 384
HITS = 10


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--database", default="sqlite", help="sqlite, postgresql, or the URL of an empty one")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")


def measure(arguments: Namespace) -> Mapping[str, object]:
    """Figures of one database."""
    with TemporaryDirectory() as folder, _url(arguments.database) as url:
        figures = asyncio.run(_measure(Path(folder), url, arguments.seconds))
    return {"database": arguments.database.partition(":")[0], **figures}


@contextmanager
def _url(database: str) -> Iterator[str | None]:
    """None: SQLite."""
    if database != "postgresql":
        yield None if database == "sqlite" else database
        return
    server = PostgresServer(durable=True)
    try:
        yield server.url("postgres")
    finally:
        server.remove()


async def _measure(folder: Path, url: str | None, seconds: float) -> dict[str, object]:
    settings = Settings(home=folder / "home", database_url=url, threads=1, busy_timeout_s=BUSY_TIMEOUT_S)
    models = Models(HashingEncoder(), write_word_tokenizer(folder), Answerer(None, refuse_below=0.0))
    async with open_resources(settings, models) as resources:
        await resources.collections.create("notes")
        write = _Writer(resources)
        return {
            "single_writes_per_s": await _rate(write.one, seconds, 1),
            f"writes_per_s_of_{WAITING}_waiting": await _rate(write.many_at_once, seconds, WAITING),
            f"documents_per_s_in_batches_of_{BATCH}": await _rate(write.batch, seconds, BATCH),
            f"ms_to_read_{HITS}_hits": await _milliseconds(lambda: _hydrate(resources), seconds),
            "ms_to_list_100_documents": await _milliseconds(lambda: _list(resources), seconds),
        }


class _Writer:
    """Writes documents that nobody has written before."""

    def __init__(self, resources: Resources) -> None:
        self._database = resources.database
        self._numbers = count()

    async def one(self) -> None:
        """A transaction of its own."""
        async with self._database.write() as connection:
            await self._add(connection, 1)

    async def many_at_once(self) -> None:
        """As many requests as wait together."""
        writes = (self._database.write_together(lambda c: self._add(c, 1)) for _ in range(WAITING))
        await asyncio.gather(*writes)

    async def batch(self) -> None:
        """One transaction of many documents."""
        async with self._database.write() as connection:
            await self._add(connection, BATCH)

    async def _add(self, connection: AsyncConnection, documents: int) -> None:
        collection = await find_collection(connection, "notes")
        rows = [_row(next(self._numbers)) for _ in range(documents)]
        await write_documents(connection, collection, rows)


def _row(number: int) -> DocumentRow:
    text = f"Document {number}. " + "Some words follow, as they do in short notes. " * 8
    digest = sha256(text.encode()).hexdigest()
    return DocumentRow(
        external_id=f"document-{number}",
        fingerprint=digest,
        title=f"Document {number}",
        metadata={"number": number, "parity": "odd" if number % 2 else "even"},
        media_type="text/plain",
        filename=None,
        text=text,
        outline={},
        content_hash=digest,
        original=None,
        original_hash=digest,
        chunking="tokens-200-30",
        spans=[ChunkSpan(0, len(text))],
        model_id="none",
        vectors=np.eye(1, DIMENSION, number % DIMENSION, dtype=np.float16),
    )


async def _hydrate(resources: Resources) -> None:
    ranked = RankedList(tuple(RankedChunk(chunk_id, 1.0) for chunk_id in range(1, HITS + 1)))
    found = await asyncio.to_thread(hydrate_now, resources.database, 1, ranked)
    assert len(found) == HITS


async def _list(resources: Resources) -> None:
    async with resources.database.read() as connection:
        collection = await find_collection(connection, "notes")
        await list_documents(connection, collection, 100, None)


async def _rate(work: Callable[[], Awaitable[None]], seconds: float, documents: int) -> float:
    """Documents a second. documents: that are written each time."""
    return round(documents / float(np.mean(await _times(work, seconds))), 1)


async def _milliseconds(work: Callable[[], Awaitable[None]], seconds: float) -> float:
    """Median."""
    return round(1000 * float(np.median(await _times(work, seconds))), 2)


async def _times(work: Callable[[], Awaitable[None]], seconds: float) -> Sequence[float]:
    await work()
    times, ends = [], time.perf_counter() + seconds
    while time.perf_counter() < ends:
        started = time.perf_counter()
        await work()
        times.append(time.perf_counter() - started)
    return times
