"""A service that does everything at once until it is killed.

`python -m tests.benchmarks.storm HOME TOKENIZER SEED FIRST`

It says on standard output what it is about to do and what was acknowledged, a line each, in JSON.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from app.resources import Models, Resources, open_resources
from app.services.types import DocumentInput, SearchInput
from app.settings import Settings
from app.snapshots.writing import create_snapshot
from embeddings.errors import Conflict, NotFound
from generation.answering import Answerer
from retrieval.types import SearchMode
from tests.app.hashing_encoder import HashingEncoder

COLLECTION = "notes"
BATCH = 100


def say(**event: object) -> None:
    print(json.dumps(event), flush=True)


async def storm(home: Path, tokenizer: Path, seed: int, first: int) -> None:
    """first: the number of the first document; those below it may be deleted."""
    started = time.perf_counter()
    models = Models(HashingEncoder(), tokenizer, Answerer(None, refuse_below=0.0))
    async with open_resources(Settings(home=home, threads=1), models) as resources:
        await _make_collection(resources)
        await resources.warm()
        say(ready_s=time.perf_counter() - started)
        rng = random.Random(seed)
        numbers = iter(range(first, first + 10_000_000, BATCH))
        await asyncio.gather(
            *(_add(resources, numbers) for _ in range(2)),
            _delete(resources, rng, first),
            _build(resources),
            _snapshot(resources, home, rng),
            _search(resources),
        )


async def _make_collection(resources: Resources) -> None:
    try:
        await resources.collections.create(COLLECTION)
    except Conflict:
        return


async def _add(resources: Resources, numbers: Iterator[int]) -> None:
    for start in numbers:
        ids = list(range(start, start + BATCH))
        say(adding=ids)
        items = [DocumentInput(f"note word{i} group{i % 97}", id=str(i)) for i in ids]
        results = await resources.documents.add(COLLECTION, items)
        say(added=[int(result.id or -1) for result in results if result.error is None])


async def _delete(resources: Resources, rng: random.Random, below: int) -> None:
    while below:
        ids = rng.sample(range(below), min(20, below))
        say(deleting=ids)
        await resources.documents.delete_where(COLLECTION, ids=[str(i) for i in ids])
        say(deleted=ids)
        await asyncio.sleep(0.05)


async def _build(resources: Resources) -> None:
    while True:
        for wanted in resources.indexes.held():
            await resources.builder.build(wanted)
            say(built=wanted.collection_id)
        await asyncio.sleep(0.05)


async def _snapshot(resources: Resources, home: Path, rng: random.Random) -> None:
    while True:
        await asyncio.sleep(rng.uniform(0, 4))
        target = home.parent / "snapshot.footnote"
        target.unlink(missing_ok=True)
        await asyncio.to_thread(create_snapshot, resources.settings, target)
        say(snapshot=target.name)


async def _search(resources: Resources) -> None:
    while True:
        try:
            await resources.search.search(COLLECTION, SearchInput("note group5", SearchMode.HYBRID))
        except NotFound:
            return
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(storm(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
