"""A collection of many chunks behind the service: its start without and with a build, and searches over HTTP.

The documents are those of tests/benchmarks/scale_corpus.py, written with their known vectors through the code
that every write takes; the questions are encoded by the service.
"""

import asyncio
import hashlib
import shutil
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import quantiles

import numpy as np
from numpy.typing import NDArray

from app.db.documents import DocumentRow
from app.db.releases import find_served
from app.db.writing import write_documents
from app.resources import Resources, open_resources
from app.services.release_types import Release
from app.settings import Settings
from embeddings.artifact import BUNDLED_ENCODER, load_manifest
from retrieval.types import ChunkSpan, SearchMode
from tests.benchmarks.environments import WORKPLACE
from tests.benchmarks.http_client import Connection, post
from tests.benchmarks.scale_corpus import ScaleCorpus, load_corpus
from tests.benchmarks.servers import Server, footnote_server

COLLECTION = "scale"
BATCH = 2_000
QUERIES = 300
WARM_QUERIES = 20
BUILD_TIMEOUT_S = 3_600
FILTERS = {"all": None, "1%": {"bucket": {"$lt": 10}}, "50%": {"bucket": {"$lt": 500}}}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--chunks", type=int, default=100_000)


def measure(options: Namespace) -> Mapping[str, object]:
    corpus = load_corpus(options.chunks)
    home = WORKPLACE / "scale" / f"home-{options.chunks}"
    shutil.rmtree(home, ignore_errors=True)
    written_s = asyncio.run(write_corpus(home, corpus, options.chunks))
    with footnote_server(home, "--no-guide") as server:
        first_s, build_s = server.ready_s, _wait_for_build(home)
        first_mb = server.peak_mb()
    with footnote_server(home, "--no-guide") as server:
        searches = asyncio.run(_searches(server, corpus))
        figures = {
            "ready_s": server.ready_s,
            "resident_mb": round(server.resident_mb()),
            "searches": searches,
        }
    shutil.rmtree(home)
    return {
        "chunks": options.chunks,
        "written_per_s": round(options.chunks / written_s),
        "ready_without_build_s": round(first_s, 1),
        "build_s": round(build_s, 1),
        "peak_mb_without_build": round(first_mb),
        **figures,
    }


async def write_corpus(home: Path, corpus: ScaleCorpus, chunks: int) -> float:
    """Make the collection in a new data folder; seconds of the writing."""
    async with open_resources(Settings(home=home)) as resources:
        await resources.collections.create(COLLECTION)
        started = time.perf_counter()
        for start in range(0, chunks, BATCH):
            await _write_batch(resources, corpus, range(start, min(chunks, start + BATCH)))
        return time.perf_counter() - started


async def _write_batch(resources: Resources, corpus: ScaleCorpus, numbers: range) -> None:
    async with resources.database.write() as connection:
        collection, release = await find_served(connection, COLLECTION)
        await write_documents(
            connection, collection, list(document_rows(corpus.text, corpus.vectors, numbers, release))
        )


def document_rows(
    text_of: Callable[[int], str], vectors: NDArray[np.float16], numbers: range, release: Release
) -> Iterator[DocumentRow]:
    """Texts as documents of one chunk each, with their vectors (texts, dimension), ready to be written."""
    model_id = load_manifest(BUNDLED_ENCODER).model_id
    for i in numbers:
        text = text_of(i)
        digest = hashlib.sha256(text.encode()).hexdigest()
        yield DocumentRow(
            external_id=f"text-{i}",
            fingerprint=digest,
            title=None,
            metadata={"bucket": i % 1_000},
            media_type="text/plain",
            filename=None,
            text=text,
            outline={"pages": [], "headings": []},
            content_hash=digest,
            original=None,
            original_hash=digest,
            chunking=release.chunking,
            spans=[ChunkSpan(0, len(text))],
            model_id=model_id,
            vectors=vectors[i : i + 1],
        )


def _wait_for_build(home: Path) -> float:
    """Seconds until the service has sealed a build by itself."""
    started = time.perf_counter()
    while not has_build(home):
        if time.perf_counter() - started > BUILD_TIMEOUT_S:
            raise TimeoutError(f"no build under {home} after {BUILD_TIMEOUT_S} s")
        time.sleep(0.2)
    return time.perf_counter() - started


def has_build(home: Path) -> bool:
    return any((home / "indexes").glob("[0-9]*/*/manifest.json"))


async def _searches(server: Server, corpus: ScaleCorpus) -> dict[str, dict[str, dict[str, float]]]:
    connection = await Connection.open(server.host, server.port)
    try:
        return {
            name: {
                mode.value: await _latency(server, connection, corpus, mode, filter_) for mode in SearchMode
            }
            for name, filter_ in FILTERS.items()
        }
    finally:
        connection.close()


async def _latency(
    server: Server, connection: Connection, corpus: ScaleCorpus, mode: SearchMode, filter_: object
) -> dict[str, float]:
    route, times = server.route(f"/v1/collections/{COLLECTION}/search"), []
    for query in corpus.questions[:QUERIES]:
        body = {"query": query, "mode": mode.value, "limit": 10}
        request = post(route, body if filter_ is None else {**body, "filter": filter_})
        started = time.perf_counter()
        status, answer = await connection.ask(request)
        times.append((time.perf_counter() - started) * 1_000)
        if status not in (200, 201):
            raise RuntimeError(f"the search answered {status}: {answer[:300]!r}")
    cuts = quantiles(times[WARM_QUERIES:], n=100)
    return {"p50_ms": round(cuts[49], 1), "p99_ms": round(cuts[98], 1)}
