"""Searches while another process switches a collection between two releases: no error, no mixture, no stall.

The two releases cut the same documents into chunks of different sizes, so each hit tells which of them it is
of; a hit is wrong when its span is not one of the release that the answer names.
"""

import asyncio
import json
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import connect
from statistics import quantiles

from app.resources import Resources, open_resources
from app.services.release_types import ReindexInput, ReleaseState
from app.services.types import DocumentInput
from app.settings import Settings
from tests.benchmarks.http_client import Connection, post
from tests.benchmarks.scale_corpus import ScaleCorpus, load_corpus
from tests.benchmarks.servers import Server, footnote_server

COLLECTION = "switched"
DOCUMENTS = 5_000
SENTENCES = 4  # texts of the corpus that make one document
BATCH = 500
SMALL_CHUNK_TOKENS = 64
CONNECTIONS = 16

_Span = tuple[str, int, int]


@dataclass(slots=True)
class Seen:
    """What the clients were answered. times_ms: from when a request was due until its answer was read."""

    times_ms: list[float] = field(default_factory=list)
    releases: Counter[int] = field(default_factory=Counter)
    errors: int = 0
    mixed: int = 0

    def p99_ms(self) -> float:
        return round(quantiles(self.times_ms, n=100)[98], 1)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--rate", type=float, default=50.0, help="searches a second")


def measure(options: Namespace) -> Mapping[str, object]:
    corpus = load_corpus(DOCUMENTS * SENTENCES, encoded=1)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        asyncio.run(_prepare(home, corpus))
        with footnote_server(home, "--no-guide") as server:
            idle, switched = asyncio.run(_run(server, home, corpus, options))
    return {
        "minutes": options.minutes,
        "switches": options.switches,
        "searches": len(switched.times_ms),
        "errors": switched.errors,
        "mixed": switched.mixed,
        "by_release": dict(switched.releases),
        "idle_p99_ms": idle.p99_ms(),
        "switching_p99_ms": switched.p99_ms(),
        "passed": not (switched.errors or switched.mixed) and len(switched.releases) == 2,
    }


async def _prepare(home: Path, corpus: ScaleCorpus) -> None:
    """A collection with two releases, both complete."""
    async with open_resources(Settings(home=home)) as resources:
        await resources.collections.create(COLLECTION)
        for start in range(0, DOCUMENTS, BATCH):
            items = [
                DocumentInput(_text(corpus, i), id=f"d{i}")
                for i in range(start, min(DOCUMENTS, start + BATCH))
            ]
            await resources.documents.add(COLLECTION, items)
        wanted = ReindexInput(chunk_max_tokens=SMALL_CHUNK_TOKENS, chunk_overlap_tokens=0)
        release = await resources.releases.begin(COLLECTION, wanted)
        built = await resources.releases.build(COLLECTION, release.number)
        if built.state != ReleaseState.READY:
            raise RuntimeError(f"the second release is {built.state}: {built.report}")


def _text(corpus: ScaleCorpus, i: int) -> str:
    return "\n\n".join(corpus.text(i * SENTENCES + k) for k in range(SENTENCES))


async def _run(server: Server, home: Path, corpus: ScaleCorpus, options: Namespace) -> tuple[Seen, Seen]:
    spans, queries = _spans(home), corpus.queries
    seconds = 60 * options.minutes
    await _search(server, queries, spans, options.rate, 10.0)  # warm
    idle = await _search(server, queries, spans, options.rate, min(60.0, seconds))
    switching = asyncio.create_task(_switch(home, options.switches, seconds / (options.switches + 1)))
    switched = await _search(server, queries, spans, options.rate, seconds)
    await switching
    return idle, switched


def _spans(home: Path) -> dict[int, set[_Span]]:
    """Release number to the spans of its chunks."""
    with closing(connect(home / "footnote.db")) as database:
        rows = database.execute(
            "SELECT r.number, d.external_id, c.start, c.end FROM chunks c"
            " JOIN documents d ON d.id = c.document_id"
            " JOIN releases r ON r.collection_id = d.collection_id AND r.chunking = c.chunking"
        ).fetchall()
    spans: dict[int, set[_Span]] = {}
    for number, document, start, end in rows:
        spans.setdefault(number, set()).add((document, start, end))
    return spans


async def _switch(home: Path, switches: int, pause_s: float) -> None:
    async with open_resources(Settings(home=home)) as resources:
        for _ in range(switches):
            await asyncio.sleep(pause_s)
            await _promote_other(resources)


async def _promote_other(resources: Resources) -> None:
    waiting = (ReleaseState.READY, ReleaseState.PREVIOUS)
    (other,) = [release for release in await resources.releases.list(COLLECTION) if release.state in waiting]
    await resources.releases.promote(COLLECTION, other.number)


async def _search(
    server: Server, queries: Sequence[str], spans: Mapping[int, set[_Span]], rate: float, seconds: float
) -> Seen:
    """Send searches at a steady rate, whether or not earlier ones were answered."""
    seen = Seen()
    connections: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        connections.put_nowait(await Connection.open(server.host, server.port))
    started = time.perf_counter()
    tasks = []
    for n in range(int(rate * seconds)):
        due = started + n / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        query = queries[n % len(queries)]
        tasks.append(asyncio.create_task(_ask(server, connections, query, spans, due, seen)))
    await asyncio.gather(*tasks)
    while not connections.empty():
        connections.get_nowait().close()
    return seen


async def _ask(
    server: Server,
    connections: "asyncio.Queue[Connection]",
    query: str,
    spans: Mapping[int, set[_Span]],
    due: float,
    seen: Seen,
) -> None:
    request = post(server.route(f"/v1/collections/{COLLECTION}/search"), {"query": query, "limit": 10})
    connection = await connections.get()
    try:
        status, answer = await connection.ask(request)
    finally:
        connections.put_nowait(connection)
    seen.times_ms.append((time.perf_counter() - due) * 1_000)
    if status not in (200, 201):
        seen.errors += 1
        return
    body = json.loads(answer)
    seen.releases[body["release"]] += 1
    known = spans[body["release"]]
    seen.mixed += any((hit["document_id"], hit["start"], hit["end"]) not in known for hit in body["hits"])
