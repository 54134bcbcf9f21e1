"""API replicas and workers on one PostgreSQL database under load, of which one replica is killed again and
again; then everything is counted.

Clients write, delete, search and hand in files through whichever replica is ready, as behind a load balancer.
A call whose connection breaks is sent again to another replica under the same Idempotency-Key. What one
replica has acknowledged, the next search on any other has to find.
"""

import asyncio
import random
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import create_engine, text

from app.db.address import postgres_address
from app.db.engine import Database
from app.db.migrations import apply_migrations
from app.services.keys import KeyService
from app.services.types import Scope
from tests.benchmarks.kills import Ledger
from tests.benchmarks.replica_processes import Kept, Replica, running
from tests.engines.postgres_server import Databases, PostgresServer, named_server

COLLECTION = "notes"
BATCH = 5
FILES = 5  # of one job
TURNED_AWAY = frozenset({429, 503})
JOBS_TIMEOUT_S = 600.0
PAUSE_S = 0.2


class KilledError(Exception):
    """The connection broke because its replica was killed."""


@dataclass(slots=True)
class Load:
    """What is asked for, and what came of it.

    broken: calls on killed connections; errors: all others that failed, by what they failed with.
    """

    replicas: Sequence[Replica]
    rng: random.Random
    ledger: Ledger = field(default_factory=Ledger)
    numbers: Iterator[int] = field(default_factory=count)
    files: set[str] = field(default_factory=set)
    errors: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    broken: int = 0
    turned_away: int = 0
    twice: int = 0
    stale: int = 0
    slowest_s: float = 0.0
    stopping: bool = False

    async def call(self, path: str, **options: Any) -> httpx.Response:
        """One POST to a replica that is ready. Raises KilledError."""
        replica = await self.any_ready()
        life, began = replica.kept.life, time.monotonic()
        self.calls += 1
        try:
            answer = await replica.client.post(path, **options)
        except httpx.TransportError as error:
            if life == replica.kept.life:
                self.errors[type(error).__name__] += 1
            self.broken += 1
            raise KilledError from error
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self._judge(answer)
        return answer

    async def insist(self, path: str, body: object) -> httpx.Response:
        """The same call until a replica has answered it, each time under the same key."""
        key = f"{self.rng.getrandbits(120):x}"
        while True:
            with suppress(KilledError):
                answer = await self.call(path, json=body, headers={"Idempotency-Key": key})
                if answer.status_code not in TURNED_AWAY:
                    return answer
            await asyncio.sleep(PAUSE_S)

    async def add(self) -> None:
        first = next(self.numbers) * BATCH
        ids = list(range(first, first + BATCH))
        self.ledger.take({"adding": ids})
        documents = [{"id": str(i), "text": f"note word{i} group{i % 97}"} for i in ids]
        answer = await self.insist(f"/v1/collections/{COLLECTION}/documents", {"documents": documents})
        if answer.is_success:
            self.twice += sum(item["status"] != "created" for item in answer.json()["items"])
            self.ledger.take({"added": ids})
            self.stale += not await self.finds(self.rng.choice(ids))

    async def delete(self) -> None:
        settled = sorted(self.ledger.present - self.ledger.open)
        ids = self.rng.sample(settled, min(5, len(settled) // 10))
        await asyncio.sleep(PAUSE_S)
        if ids:
            self.ledger.take({"deleting": ids})
            wanted = {"ids": [str(i) for i in ids]}
            if (await self.insist(f"/v1/collections/{COLLECTION}/delete", wanted)).is_success:
                self.ledger.take({"deleted": ids})
                self.stale += await self.finds(ids[0])

    async def search(self) -> None:
        wanted = {"query": f"note group{self.rng.randrange(97)}", "limit": 10}
        await self.call(f"/v1/collections/{COLLECTION}/search", json=wanted)

    async def hand_in_files(self) -> None:
        name = f"{self.rng.getrandbits(60)}"
        names = [f"file-{name}-{number}.txt" for number in range(FILES)]
        files = [("file", (each, f"the file {each}".encode(), "text/plain")) for each in names]
        answer = await self.call(f"/v1/collections/{COLLECTION}/jobs/ingest", files=files)
        if answer.is_success:
            self.files.update(names)
        await asyncio.sleep(1.0)

    async def finds(self, number: int) -> bool:
        wanted = {"query": f"word{number}", "mode": "lexical", "limit": 5}
        answer = await self.insist(f"/v1/collections/{COLLECTION}/search", wanted)
        return str(number) in {hit["document_id"] for hit in answer.json()["hits"]}

    async def repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        while not self.stopping:
            with suppress(KilledError):
                await work()

    async def any_ready(self) -> Replica:
        while True:
            if ready := [replica for replica in self.replicas if replica.ready]:
                return self.rng.choice(ready)
            await asyncio.sleep(PAUSE_S)

    def _judge(self, answer: httpx.Response) -> None:
        if answer.status_code in TURNED_AWAY:
            self.turned_away += 1
        elif not answer.is_success:
            self.errors[f"{answer.status_code} {answer.text[:200]}"] += 1


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--kill-every", type=float, default=20.0, metavar="SECONDS")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kill-workers", action="store_true", help="kill a worker each time too")
    parser.add_argument("--seed", type=int, default=1)


def measure(arguments: Namespace) -> Mapping[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        if named := named_server():
            return asyncio.run(_measure(home, Databases(named).make(), arguments))
        server = PostgresServer(durable=True)
        try:
            return asyncio.run(_measure(home, server.url("postgres"), arguments))
        finally:
            server.remove()


async def _measure(home: Path, url: str, arguments: Namespace) -> Mapping[str, object]:
    token = await _make_key(url)
    variables = {"FOOTNOTE_DATABASE_URL": url, "FOOTNOTE_THREADS": "1"}
    rng = random.Random(arguments.seed)
    async with running(home, variables, token, arguments.replicas, arguments.workers) as (served, working):
        (await served[0].client.post("/v1/collections", json={"name": COLLECTION})).raise_for_status()
        load = Load(served, rng)
        work = (load.add, load.add, load.delete, load.search, load.search, load.hand_in_files)
        tasks = [asyncio.create_task(load.repeat(each)) for each in work]
        kills = await _kill_again_and_again(load, working if arguments.kill_workers else [], arguments)
        load.stopping = True
        await asyncio.gather(*tasks)
        unfinished = await _unfinished_jobs(load)
        sample = rng.sample(sorted(load.ledger.present), min(100, len(load.ledger.present)))
        unfound = sum([not await load.finds(number) for number in sample])
    counted = _count(load, _stored(url), url, kills) | {"unfinished_jobs": unfinished, "unfound": unfound}
    return counted | {"passed": counted["passed"] and not (unfinished or unfound)}


async def _kill_again_and_again(load: Load, workers: Sequence[Kept], arguments: Namespace) -> int:
    kills, ends = 0, time.monotonic() + arguments.seconds
    while (left := ends - time.monotonic()) > 0:
        await asyncio.sleep(min(left, arguments.kill_every))
        if time.monotonic() < ends and all(replica.ready for replica in load.replicas):
            load.rng.choice(list(load.replicas)).kill()
            for worker in load.rng.sample(workers, 1) if workers else ():
                worker.kill()
            kills += 1
            print(f"kill {kills}: {len(load.ledger.present)} present, {load.errors}", file=sys.stderr)
    return kills


async def _unfinished_jobs(load: Load) -> int:
    """How many jobs still wait or run when all that was promised should long be done."""
    ends = time.monotonic() + JOBS_TIMEOUT_S
    while (left := await _active_jobs(load)) and time.monotonic() < ends:  # noqa: ASYNC110
        await asyncio.sleep(1.0)
    return left


async def _active_jobs(load: Load) -> int:
    """Those that failed count too."""
    replica = await load.any_ready()
    pages = [
        await replica.client.get("/v1/jobs", params={"state": state, "limit": 1000})
        for state in ("queued", "running", "failed")
    ]
    return sum(len(page.json()["jobs"]) for page in pages)


def _count(load: Load, stored: Mapping[str, int], url: str, kills: int) -> dict[str, object]:
    load.ledger.settle_open({int(each) for each in stored if each.isdigit()})
    replaced = sum(version != 1 for version in stored.values())
    missing = len(load.files - stored.keys())
    lost, returned = load.ledger.lost, load.ledger.returned
    attempts = _attempts(url)
    passed = not (lost or returned or replaced or missing or load.twice or load.stale or load.errors)
    return {
        "kills": kills,
        "calls": load.calls,
        "broken_on_killed_connections": load.broken,
        "turned_away": load.turned_away,
        "other_errors": dict(load.errors),
        "acknowledged": len(load.ledger.present) + len(load.ledger.absent),
        "lost": lost,
        "returned": returned,
        "done_twice": load.twice + replaced,
        "stale_reads": load.stale,
        "files_of_jobs": len(load.files),
        "files_missing": missing,
        "job_attempts": attempts,
        "slowest_call_s": round(load.slowest_s, 2),
        "ready_s_worst": max(max(replica.ready_s, default=0.0) for replica in load.replicas),
        "passed": passed,
    }


async def _make_key(url: str) -> str:
    """The token of a key for everything, in a database that has its tables then."""
    address = postgres_address(url)
    apply_migrations(address, 10)
    database = Database(address, 10)
    token = (await KeyService(database).create("replicas", set(Scope))).token
    await database.close()
    return token


def _stored(url: str) -> dict[str, int]:
    """External id to version."""
    return dict(_rows(url, "SELECT external_id, version FROM documents"))


def _attempts(url: str) -> dict[str, int]:
    """How many jobs ended in which state, and with which attempt."""
    query = "SELECT state || ' at attempt ' || attempt, count(*) FROM jobs GROUP BY 1 ORDER BY 1"
    return dict(_rows(url, query))


def _rows(url: str, query: str) -> list[Any]:
    with create_engine(postgres_address(url).url).connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]
