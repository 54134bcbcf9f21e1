"""How many single-document adds a second become durable, by the number of clients that write at once.

    python -m tests.benchmarks.concurrent_writes --folder FOLDER

The encoder is a fake that costs next to nothing, so the figure is that of the database and the disk.
folder: on the disk that is to be measured; the system's temporary one may be memory.
"""

import asyncio
import json
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from app.resources import Models, Resources, open_resources
from app.services.types import DocumentInput
from app.settings import Settings
from generation.answering import Answerer
from tests.app.hashing_encoder import HashingEncoder, write_word_tokenizer

DOCUMENTS = 600


async def measure(folder: Path, clients: int) -> dict[str, float]:
    """Adds a second, and the median and the 99th percentile of one add in ms."""
    models = Models(HashingEncoder(), write_word_tokenizer(folder), Answerer(None, refuse_below=0.0))
    async with open_resources(Settings(home=folder / f"home-{clients}", threads=1), models) as resources:
        await resources.collections.create("notes")
        numbers, took = iter(range(DOCUMENTS)), list[float]()
        started = time.perf_counter()
        await asyncio.gather(*(_write(resources, numbers, took) for _ in range(clients)))
        rate = DOCUMENTS / (time.perf_counter() - started)
    took.sort()
    return {"clients": clients, "adds_per_s": round(rate), "p50_ms": took[len(took) // 2], "p99_ms": took[-6]}


async def _write(resources: Resources, numbers: Iterator[int], took: list[float]) -> None:
    for number in numbers:
        started = time.perf_counter()
        await resources.documents.add("notes", [DocumentInput(f"Note number {number}.", str(number))])
        took.append((time.perf_counter() - started) * 1000)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path())
    folder = parser.parse_args().folder
    with TemporaryDirectory(dir=folder) as scratch:
        for clients in (1, 8, 32):
            print(json.dumps(asyncio.run(measure(Path(scratch), clients))))


if __name__ == "__main__":
    main()
