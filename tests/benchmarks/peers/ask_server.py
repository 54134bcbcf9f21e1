"""Ask one server as its users do, in the environment that they have: a line of JSON each way.

    python ask_server.py ADAPTER

ADAPTER names a module beside this one with a class `Users`: `ingest` takes a batch of ids and texts, `finish`
makes searchable what was taken, `vectors` counts what is searched, and `connect` returns the search of one
client in a mode: ids of the best ten for a query. Times are taken on this side of the pipe, by the same loop
for every server.
"""

import importlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from worker import serve, status_mb

SEARCHABLE_S = 300.0
Search = Callable[[str], list[str]]


class Session:
    """The users of one server. Each public method is a command."""

    def __init__(self, adapter: str) -> None:
        self._make: Callable[[Mapping[str, Any]], Any] = importlib.import_module(adapter).Users
        self._users: Any = None
        self._queries: list[str] = []

    def open(self, given: Mapping[str, Any], queries: str) -> Mapping[str, object]:
        """Reach the server. given: where it is; queries: a JSON file of them."""
        self._users = self._make(given)
        self._queries = json.loads(Path(queries).read_text(encoding="utf-8"))
        return {"queries": len(self._queries)}

    def ingest(self, documents: str, batch: int) -> Mapping[str, object]:
        """Send a JSON file of ids and texts in batches; seconds until the last is found, and CPU of it."""
        found = json.loads(Path(documents).read_text(encoding="utf-8"))
        ids, texts = found["ids"], found["texts"]
        # What a process does once, such as opening its encoder, is not the rate of its documents.
        self._users.connect("dense")("a first query")
        started, busy_s = time.perf_counter(), time.process_time()
        for first in range(0, len(ids), batch):
            self._users.ingest(ids[first : first + batch], texts[first : first + batch])
        self._users.finish()
        wait_until_found(self._users.connect("dense"), ids[-1], texts[-1])
        return {
            "seconds": time.perf_counter() - started,
            "cpu_s": time.process_time() - busy_s,
            "vectors": self._users.vectors(),
        }

    def search(self, mode: str, first: int, count: int) -> Mapping[str, object]:
        """The ids found for some queries, one by one."""
        search = self._users.connect(mode)
        return {"ids": [search(query) for query in self._queries[first : first + count]]}

    def load(self, mode: str, clients: int, seconds: float, skip: int) -> Mapping[str, object]:
        """Seconds of each search by so many clients at once; failures: what else came, and how often."""
        searches = [self._users.connect(mode) for _ in range(clients)]
        queries = self._queries[skip % len(self._queries) :] + self._queries[: skip % len(self._queries)]
        return ask_in_loops(searches, queries, seconds)

    def memory(self) -> Mapping[str, object]:
        """The resident size of the clients now, in MB."""
        return {"resident_mb": status_mb("VmRSS")}


def wait_until_found(search: Search, id_: str, text: str) -> None:
    """Ask for a document by its own text until it is among the best. Raises TimeoutError."""
    deadline = time.monotonic() + SEARCHABLE_S
    while id_ not in search(text):
        if time.monotonic() > deadline:
            raise TimeoutError(f"document {id_} is not found {SEARCHABLE_S:.0f} s after it was sent")
        time.sleep(0.05)


def ask_in_loops(searches: Sequence[Search], queries: Sequence[str], seconds: float) -> Mapping[str, object]:
    """Let each client ask one query after the other for so long; they take different ones."""
    latencies: list[float] = []
    failures: Counter[str] = Counter()
    started = time.perf_counter()

    def ask(number: int) -> None:
        at = number
        while (asked := time.perf_counter()) < started + seconds:
            try:
                searches[number](queries[at % len(queries)])
            except Exception as error:
                failures[f"{type(error).__name__}: {error}"[:200]] += 1
            else:
                latencies.append(time.perf_counter() - asked)
            at += len(searches)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(searches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"latencies_s": latencies, "failures": failures, "seconds": time.perf_counter() - started}


if __name__ == "__main__":
    serve(Session(sys.argv[1]))
