"""kill -9 of `footnote serve`, or of its worker, at random instants; then everything is counted.

Clients write, delete and search over HTTP meanwhile, and ask for jobs: files to take in, snapshots, and
releases with other chunks, which are put in service. tests/benchmarks/kills.py kills the same work far more
often, in one process without HTTP and without a real encoder.
"""

import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from sqlite3 import connect
from typing import Any

import httpx

from app.resources import open_resources
from app.services.types import Scope
from app.settings import Settings
from tests.benchmarks.kills import Ledger
from tests.benchmarks.servers import Server, footnote_server

COLLECTION = "notes"
BATCH = 100
FILES = 10  # of one job
SHORTEST_S, LONGEST_S = 0.5, 5.0  # that a service may live once it is ready
WORKER_SHARE = 0.3  # of the cycles in which the worker dies first, and the service a second later
SAMPLED = 30
SEARCHED_EVERY = 10  # cycles
JOBS_TIMEOUT_S = 300.0


@dataclass(slots=True)
class Clients:
    """What is written and what of it was acknowledged. files: names that a job has promised to take in."""

    client: httpx.AsyncClient
    rng: random.Random
    ledger: Ledger
    numbers: Iterator[int]
    files: set[str]
    jobs: int = 0
    refused: int = field(default=0)

    async def post(self, path: str, body: object) -> bool:
        """Whether it was acknowledged."""
        answer = await self.client.post(path, json=body)
        self.refused += answer.status_code >= 500
        return answer.is_success

    async def add(self) -> None:
        first = next(self.numbers) * BATCH
        ids = list(range(first, first + BATCH))
        self.ledger.take({"adding": ids})
        documents = [{"id": str(i), "text": f"note word{i} group{i % 97}"} for i in ids]
        if await self.post(f"/v1/collections/{COLLECTION}/documents", {"documents": documents}):
            self.ledger.take({"added": ids})

    async def delete(self) -> None:
        settled = sorted(self.ledger.present - self.ledger.open)
        ids = self.rng.sample(settled, min(20, len(settled) // 10))
        self.ledger.take({"deleting": ids})
        wanted = {"ids": [str(i) for i in ids]}
        if await self.post(f"/v1/collections/{COLLECTION}/delete", wanted):
            self.ledger.take({"deleted": ids})
        await asyncio.sleep(0.1)

    async def search(self) -> None:
        wanted = {"query": f"note group{self.rng.randrange(97)}", "limit": 10}
        await self.post(f"/v1/collections/{COLLECTION}/search", wanted)

    async def ask_for_jobs(self) -> None:
        await asyncio.sleep(self.rng.uniform(0, 2))
        name = f"{self.rng.getrandbits(60)}"
        work = self.rng.choice(("files", "snapshot", "reindex"))
        if work == "files":
            await self._ingest([f"file-{name}-{i}.txt" for i in range(FILES)])
        elif work == "snapshot":
            self.jobs += await self.post("/v1/snapshots", {"name": f"{name}.footnote"})
        else:
            size = self.rng.randrange(64, 200)
            self.jobs += await self.post(
                f"/v1/admin/collections/{COLLECTION}/reindex", {"chunk_max_tokens": size}
            )

    async def _ingest(self, names: list[str]) -> None:
        files = [("file", (name, f"the file {name}".encode(), "text/plain")) for name in names]
        answer = await self.client.post(f"/v1/collections/{COLLECTION}/jobs/ingest", files=files)
        if answer.is_success:
            self.files.update(names)
            self.jobs += 1

    async def finds(self, number: int) -> bool:
        wanted = {"query": f"word{number}", "mode": "lexical", "limit": 5}
        answer = await self.client.post(f"/v1/collections/{COLLECTION}/search", json=wanted)
        return str(number) in {hit["document_id"] for hit in answer.json()["hits"]}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)


def measure(arguments: Namespace) -> Mapping[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(
            _run_cycles(Path(folder) / "home", arguments.cycles, random.Random(arguments.seed))
        )


async def _run_cycles(home: Path, cycles: int, rng: random.Random) -> Mapping[str, object]:
    token = await _prepare(home)
    ledger, files, numbers = Ledger(), set[str](), count()
    wrong = jobs = refused = 0
    for cycle in range(1, cycles + 1):
        with footnote_server(home, "--no-guide") as server:
            ledger.ready_s.append(server.ready_s)
            async with _connected(server, token) as client:
                clients = Clients(client, rng, ledger, numbers, files)
                if cycle % SEARCHED_EVERY == 0:
                    wrong += await _wrong_searches(clients)
                    print(f"cycle {cycle}: {len(ledger.present)} present, {wrong} wrong", file=sys.stderr)
                await _work_until_killed(server, clients)
                jobs, refused = jobs + clients.jobs, refused + clients.refused
        shutil.rmtree(home / "snapshots", ignore_errors=True)
        ledger.settle_open(_stored(home))
    with footnote_server(home, "--no-guide") as server:
        async with _connected(server, token) as client:
            wrong += await _wrong_searches(Clients(client, rng, ledger, numbers, files))
            unfinished = await _finish_jobs(client)
    missing = len(files - _stored_files(home))
    return {
        "cycles": cycles,
        "acknowledged": len(ledger.present) + len(ledger.absent),
        "present": len(ledger.present),
        "deleted": len(ledger.absent),
        "jobs": jobs,
        "unfinished_jobs": unfinished,
        "files_of_jobs": len(files),
        "files_missing": missing,
        "refused": refused,
        "lost": ledger.lost,
        "returned": ledger.returned,
        "wrong_searches": wrong,
        "ready_s_worst": round(max(ledger.ready_s), 2),
        "passed": not (ledger.lost or ledger.returned or wrong or missing or unfinished),
    }


async def _prepare(home: Path) -> str:
    """An empty collection, and the token of a key for everything."""
    async with open_resources(Settings(home=home)) as resources:
        await resources.collections.create(COLLECTION)
        return (await resources.keys.create("kills", set(Scope))).token


def _connected(server: Server, token: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=f"http://{server.host}:{server.port}", headers=headers, timeout=30)


async def _work_until_killed(server: Server, clients: Clients) -> None:
    work = (clients.add, clients.add, clients.delete, clients.search, clients.ask_for_jobs)
    running = [asyncio.create_task(_repeat(each)) for each in work]
    await asyncio.sleep(clients.rng.uniform(SHORTEST_S, LONGEST_S))
    if clients.rng.random() < WORKER_SHARE:
        for worker in server.children():
            os.kill(worker, signal.SIGKILL)
        await asyncio.sleep(1.0)
    os.kill(server.pid, signal.SIGKILL)
    await asyncio.gather(*running)


async def _repeat(work: Callable[[], Awaitable[None]]) -> None:
    with suppress(httpx.TransportError):  # the service is dead
        while True:
            await work()


async def _wrong_searches(clients: Clients) -> int:
    ledger, rng = clients.ledger, clients.rng
    present = rng.sample(sorted(ledger.present), min(SAMPLED, len(ledger.present)))
    absent = rng.sample(sorted(ledger.absent), min(SAMPLED, len(ledger.absent)))
    missing = [number for number in present if not await clients.finds(number)]
    back = [number for number in absent if await clients.finds(number)]
    return len(missing) + len(back)


async def _finish_jobs(client: httpx.AsyncClient) -> int:
    """How many jobs still wait or run when all that was promised should long be done."""
    for job in await _open_jobs(client):
        if job["kind"] == "reindex":  # each would encode the whole collection once more
            await client.post(f"/v1/jobs/{job['id']}/cancel")
    for _ in range(int(JOBS_TIMEOUT_S)):
        if not await _open_jobs(client):
            return 0
        await asyncio.sleep(1.0)
    return len(await _open_jobs(client))


async def _open_jobs(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    pages = [
        await client.get("/v1/jobs", params={"state": state, "limit": 1000})
        for state in ("queued", "running")
    ]
    return [job for page in pages for job in page.json()["jobs"]]


def _stored(home: Path) -> set[int]:
    """The numbers of the documents that the API would list."""
    return {int(each) for each in _external_ids(home) if each.isdigit()}


def _stored_files(home: Path) -> set[str]:
    return {each for each in _external_ids(home) if each.startswith("file-")}


def _external_ids(home: Path) -> list[str]:
    with closing(connect(home / "footnote.db")) as database:
        return [row[0] for row in database.execute("SELECT external_id FROM documents")]
