"""Searches while another process switches a collection between two releases: no error, no mixture, no stall.

The two releases cut the same documents into chunks of different sizes, so each hit tells which of them it is
of; a hit is wrong when its span is not one of the release that the answer names.
"""

import asyncio
import json
import tempfile
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from sqlite3 import connect
from statistics import quantiles

from app.resources import Resources, open_resources
from app.services.release_types import ReindexInput, ReleaseState
from app.services.types import DocumentInput
from app.settings import Settings
from tests.benchmarks.http_client import post
from tests.benchmarks.scale_corpus import ScaleCorpus, load_corpus
from tests.benchmarks.servers import Server, footnote_server
from tests.benchmarks.steady_load import load_steadily

COLLECTION = "switched"
DOCUMENTS = 5_000
SENTENCES = 4  # texts of the corpus that make one document
BATCH = 500
SMALL_CHUNK_TOKENS = 64

_Span = tuple[str, int, int]


@dataclass(slots=True)
class Seen:
    """What the clients were answered. times_ms: from when a request was due until its answer was read."""

    times_ms: list[float] = field(default_factory=list)
    releases: Counter[int] = field(default_factory=Counter)
    errors: int = 0
    mixed: int = 0

    def take(self, spans: Mapping[int, set[_Span]], status: int, answer: bytes) -> None:
        """Note one answer. spans: of the chunks of each release."""
        if status not in (200, 201):
            self.errors += 1
            return
        body = json.loads(answer)
        self.releases[body["release"]] += 1
        known = spans[body["release"]]
        self.mixed += any((hit["document_id"], hit["start"], hit["end"]) not in known for hit in body["hits"])

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
    seen, route = Seen(), server.route(f"/v1/collections/{COLLECTION}/search")
    requests = [post(route, {"query": query, "limit": 10}) for query in queries]
    seen.times_ms = await load_steadily(
        route, requests, rate, lambda s: s < seconds, partial(seen.take, spans)
    )
    return seen
