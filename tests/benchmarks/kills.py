"""kill -9 at random instants of writing, deleting, building and snapshotting; then everything is counted."""

import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import connect

from app.resources import Models, Resources, open_resources
from app.services.types import SearchInput
from app.settings import Settings
from generation.answering import Answerer
from retrieval.types import SearchMode
from tests.app.hashing_encoder import HashingEncoder, write_word_tokenizer
from tests.benchmarks.storm import COLLECTION

LONGEST_S = 4.0  # that a process may live once it is ready
SAMPLED = 40  # documents that are searched for after a cycle, present and deleted ones each
SEARCHED_EVERY = 10  # cycles


@dataclass(slots=True)
class Ledger:
    """What the killed processes have acknowledged.

    present, absent: numbers of documents that have to be, or may not be there. open: of calls that were not
    answered, which may have either outcome, but one that stays.
    """

    present: set[int] = field(default_factory=set)
    absent: set[int] = field(default_factory=set)
    open: set[int] = field(default_factory=set)
    builds: int = 0
    snapshots: int = 0
    ready_s: list[float] = field(default_factory=list)
    lost: int = 0
    returned: int = 0

    def take(self, event: Mapping[str, object]) -> None:
        """Note one line of a process."""
        match event:
            case {"adding": list(ids)} | {"deleting": list(ids)}:
                self.open |= set(ids)
            case {"added": list(ids)}:
                self._settle(set(ids), set())
            case {"deleted": list(ids)}:
                self._settle(set(), set(ids))
            case {"built": _}:
                self.builds += 1
            case {"snapshot": _}:
                self.snapshots += 1
            case {"ready_s": float(seconds)}:
                self.ready_s.append(seconds)

    def settle_open(self, stored: set[int]) -> None:
        """Compare with what is stored, and learn what became of the calls without an answer."""
        self.lost += len(self.present - self.open - stored)
        self.returned += len((self.absent - self.open) & stored)
        self._settle(self.open & stored, self.open - stored)

    def _settle(self, there: set[int], gone: set[int]) -> None:
        self.open -= there | gone
        self.present = (self.present | there) - gone
        self.absent = (self.absent | gone) - there


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)


def measure(arguments: Namespace) -> Mapping[str, object]:
    """What was acknowledged, what of it was lost or came back, and how soon each start was ready."""
    with tempfile.TemporaryDirectory() as folder:
        ledger, wrong = run_cycles(Path(folder), arguments.cycles, arguments.seed)
    return {
        "cycles": arguments.cycles,
        "acknowledged": len(ledger.present) + len(ledger.absent),
        "present": len(ledger.present),
        "deleted": len(ledger.absent),
        "builds": ledger.builds,
        "snapshots": ledger.snapshots,
        "lost": ledger.lost,
        "returned": ledger.returned,
        "wrong_searches": wrong,
        "ready_s_last": round(ledger.ready_s[-1], 2),
        "ready_s_worst": round(max(ledger.ready_s), 2),
        "passed": not (ledger.lost or ledger.returned or wrong),
    }


def run_cycles(folder: Path, cycles: int, seed: int) -> tuple[Ledger, int]:
    """The ledger, and the number of searches whose hits were not those of the ledger."""
    rng, ledger, wrong = random.Random(seed), Ledger(), 0
    home, tokenizer = folder / "home", write_word_tokenizer(folder)
    for cycle in range(1, cycles + 1):
        first = max(ledger.present | ledger.absent, default=-1) + 1
        _kill_one(home, tokenizer, rng, first, ledger)
        ledger.settle_open(_stored(home))
        if cycle % SEARCHED_EVERY == 0 or cycle == cycles:
            wrong += asyncio.run(_wrong_searches(home, tokenizer, ledger, rng))
            print(f"cycle {cycle}: {len(ledger.present)} present, {wrong} wrong", file=sys.stderr)
    shutil.rmtree(home, ignore_errors=True)
    return ledger, wrong


def _kill_one(home: Path, tokenizer: Path, rng: random.Random, first: int, ledger: Ledger) -> None:
    module = ("-m", "tests.benchmarks.storm")
    command = [sys.executable, *module, str(home), str(tokenizer), str(rng.random())[2:10], str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ledger.take(json.loads(process.stdout.readline()))
        killed = time.monotonic() + rng.uniform(0, LONGEST_S)
        lines = []
        while time.monotonic() < killed:
            lines.append(process.stdout.readline())
        process.kill()
        lines += process.stdout.readlines()
    for line in lines:
        if line.endswith("\n"):  # the last one may be cut off
            ledger.take(json.loads(line))


def _stored(home: Path) -> set[int]:
    """The numbers of the documents that the API would list."""
    with closing(connect(home / "footnote.db")) as database:
        return {int(row[0]) for row in database.execute("SELECT external_id FROM documents")}


async def _wrong_searches(home: Path, tokenizer: Path, ledger: Ledger, rng: random.Random) -> int:
    models = Models(HashingEncoder(), tokenizer, Answerer(None, refuse_below=0.0))
    present = rng.sample(sorted(ledger.present), min(SAMPLED, len(ledger.present)))
    absent = rng.sample(sorted(ledger.absent), min(SAMPLED, len(ledger.absent)))
    async with open_resources(Settings(home=home, threads=1), models) as resources:
        await resources.warm()
        missing = [number for number in present if not await _is_found(resources, number)]
        back = [number for number in absent if await _is_found(resources, number)]
        counted = (await resources.collections.get(COLLECTION)).documents
    return len(missing) + len(back) + (counted != len(ledger.present))


async def _is_found(resources: Resources, number: int) -> bool:
    wanted = SearchInput(f"word{number}", SearchMode.LEXICAL, limit=5)
    hits = (await resources.search.search(COLLECTION, wanted)).hits
    return str(number) in {hit.document_id for hit in hits}
