"""kill -9 at random instants of trainings, while somebody searches.

One of three dies: the training process, the worker that follows it, or the service with both. Each job has to
end, in a release that serves or with a clear failure, and searches are answered by the old release meanwhile.
The collection is a part of this project's guide, so that a job takes minutes; a training takes a few steps,
without cross-validation (`--folds`), and whatever comes out may go into service, so that later trainings go
on from earlier ones.
"""

import asyncio
import itertools
import os
import random
import signal
import sys
import tempfile
import threading
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from app.guide_loader import GUIDE_FOLDER
from app.resources import open_resources
from app.services.types import Scope
from app.settings import Settings
from tests.benchmarks.servers import Server, footnote_server

COLLECTION = "pages"
PAGES = ("ask", "backup", "ingest", "jobs", "operate", "search")
JOB_TIMEOUT_S = 900.0
VICTIMS = ("training", "worker", "service")
ENDED = ("done", "failed", "cancelled")
# Small, and promoted whatever it is worth: what is measured is that each job ends well.
PLAN = {
    "optimisation": {"max_steps": 12, "batch_examples": 16, "max_tokens": 64},
    "negatives": {"count": 1},
    "synthetic": {"passages": 80, "sources": ["headings", "sentences"]},
    "gate": {"min_gain": -100.0, "max_general_loss": 100.0, "min_queries": 1},
    "minutes": 5,
}


@dataclass
class Searches:
    """Searches twice a second, as long as the service is up. failed: answers that were no hits."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def beside(self, client: httpx.Client) -> Iterator[None]:
        """Search in a thread of its own. What the death of the service cuts off is no failure."""
        ended = threading.Event()
        thread = threading.Thread(target=self._repeat, args=(client, ended))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _repeat(self, client: httpx.Client, ended: threading.Event) -> None:
        while not ended.wait(0.5):
            try:
                self._search(client)
            except httpx.TransportError:
                return

    def _search(self, client: httpx.Client) -> None:
        answer = client.post(f"/v1/collections/{COLLECTION}/search", json={"query": "make a backup"})
        self.answered += 1
        if not answer.is_success or not answer.json()["hits"]:
            self.failed.append(f"{answer.status_code} {answer.text[:200]}")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=20, help="each in a training of its own (%(default)s)")
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS, help="by turns (all)")
    parser.add_argument("--folds", type=int, default=1, help="trainings that are judged (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)


def measure(arguments: Namespace) -> Mapping[str, object]:
    """How the jobs ended, and what searches found meanwhile."""
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        with footnote_server(home):
            pass  # makes the database
        jobs = Jobs(home, asyncio.run(_admin_token(home)), PLAN | {"folds": arguments.folds})
        jobs.fill()
        longest, end, _ = jobs.one(None)
        print(f"no kill: {end} after {longest:.1f} s", file=sys.stderr, flush=True)
        ends, victims, turns = Counter[str](), Counter[str](), itertools.cycle(arguments.victims)
        while victims.total() < arguments.kills:
            after = rng.uniform(0, longest)
            _, end, killed = jobs.one((after, next(turns)))
            ends[end] += 1
            victims.update([killed] if killed else [])
            print(f"{killed} after {after:.1f} s: {end}", file=sys.stderr, flush=True)
    unclear = [end for end in ends if end.startswith("unclear")]
    searches = jobs.searches
    return {
        "kills": arguments.kills,
        "victims": dict(victims),
        "ends": dict(ends),
        "searches": searches.answered,
        "failed_searches": searches.failed[:5],
        "seconds_of_a_job": round(longest, 1),
        "passed": not unclear and not searches.failed,
    }


@dataclass(frozen=True)
class Jobs:
    """Trainings of one collection, one after another. token: an administrator's."""

    home: Path
    token: str
    plan: Mapping[str, object]
    searches: Searches = field(default_factory=Searches)

    def fill(self) -> None:
        """Make the collection."""
        texts = {page: (GUIDE_FOLDER / f"{page}.md").read_text(encoding="utf-8") for page in PAGES}
        documents = [{"id": page, "text": text} for page, text in texts.items()]
        with footnote_server(self.home) as server, _client(server, self.token) as client:
            client.post("/v1/collections", json={"name": COLLECTION}).raise_for_status()
            added = client.post(f"/v1/collections/{COLLECTION}/documents", json={"documents": documents})
            added.raise_for_status()

    def one(self, kill: tuple[float, str] | None) -> tuple[float, str, str | None]:
        """One training to its end: seconds, how it ended, and what was killed.

        kill: after how many seconds, and what. Nothing is killed of a job that has ended before.
        """
        began, killed = time.monotonic(), None
        with self._service() as (server, client):
            wanted = {"promote": "gate", "plan": self.plan}
            asked = client.post(f"/v1/admin/collections/{COLLECTION}/train", json=wanted)
            job = asked.raise_for_status().json()["id"]
            if kill is not None and _wait(client, job, kill[0]) is None:
                killed = _kill(server, kill[1])
            end = None if killed == "service" else _end(client, job)
        if end is None:
            with self._service() as (_, client):
                end = _end(client, job)
        return time.monotonic() - began, end, killed

    @contextmanager
    def _service(self) -> Iterator[tuple[Server, httpx.Client]]:
        with ExitStack() as stack:
            server = stack.enter_context(footnote_server(self.home))
            client = stack.enter_context(_client(server, self.token))
            stack.enter_context(self.searches.beside(client))
            yield server, client


def _client(server: Server, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=f"http://{server.host}:{server.port}", headers=headers, timeout=60)


def _kill(server: Server, victim: str) -> str:
    """What was killed: the worker where no training process lives at this instant."""
    children = server.children()
    trainings = [pid for pid in children if b"training.siamese.run" in _command(pid)]
    if victim == "training" and not trainings:
        victim = "worker"
    workers = [pid for pid in children if pid not in trainings]
    for pid in {"training": trainings, "worker": workers, "service": [server.pid]}[victim]:
        os.kill(pid, signal.SIGKILL)
    return victim


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _wait(client: httpx.Client, job: str, seconds: float) -> dict[str, Any] | None:
    """The job when it ends within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found: dict[str, Any] = client.get(f"/v1/jobs/{job}").raise_for_status().json()
        if found["state"] in ENDED:
            return found
        time.sleep(0.2)
    return None


def _end(client: httpx.Client, job: str) -> str:
    """How a job ended; "unclear" where it did not, or does not say why, or its release does not serve."""
    found = _wait(client, job, JOB_TIMEOUT_S)
    if found is None:
        return "unclear: still running"
    if found["state"] != "done":
        told = found["error"] and found["error"].get("next")
        return f"{found['state']}: {found['error']['detail']}" if told else "unclear: failed without advice"
    release = found["result"]["release"]
    if release is None:
        return "kept the old one"
    return "served" if release == _serving(client) else f"unclear: {release} does not serve"


def _serving(client: httpx.Client) -> int:
    answer = client.get(f"/v1/admin/collections/{COLLECTION}/releases").raise_for_status()
    return next(each["number"] for each in answer.json()["releases"] if each["state"] == "serving")


async def _admin_token(home: Path) -> str:
    async with open_resources(Settings(home=home)) as resources:
        return (await resources.keys.create("kills", {Scope.ADMIN})).token
