"""Footnote's service beside those of txtai and Chroma: the same documents, queries, weights and clients in
one run, each server asked as its documentation shows.

Documents go in one server after the other. Then all servers stay open and take turns, so that a slow minute
of the machine falls on all alike. A client asks its next query when it has the answer to the last one; its
time is what a user waits, so for Chroma, whose clients encode, it holds the encoder's.
"""

import json
import os
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from embeddings.artifact import BUNDLED_ENCODER, TOKENIZER
from embeddings.tokens import read_tokenizer
from tests.benchmarks.environments import PEERS, WORKPLACE, PeerUnavailable, interpreter
from tests.benchmarks.peer_model import make_peer_model
from tests.benchmarks.quantiles import percentile
from tests.benchmarks.servers import Server, ServerFailed
from tests.benchmarks.services_servers import CONTENDERS, Contender, cpu_seconds
from tests.benchmarks.services_truth import Abstracts, exact_answers, judged_recall, load_abstracts
from tests.benchmarks.stores_truth import recall
from tests.benchmarks.texts import NoData
from tests.benchmarks.workers import Worker, WorkerFailed

FOLDER = WORKPLACE / "services"
BATCH = 100  # documents a request
TURNS = 4
WARM_S = 1.0
CHECKED = 200  # queries whose answers are compared with exact search


@dataclass(slots=True)
class Load:
    """Closed-loop clients of one server and mode, over all turns. failures: how often, by description."""

    latencies_s: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, answer: Mapping[str, Any]) -> None:
        """Count the answer of a worker's `load`."""
        self.latencies_s.extend(answer["latencies_s"])
        self.failures.update(answer["failures"])
        self.seconds += answer["seconds"]

    def figures(self) -> dict[str, object]:
        """Searches a second, p50 and p99 in ms, and failures where there were some."""
        rate = {"searches_per_s": round(len(self.latencies_s) / self.seconds, 1)} if self.seconds else {}
        times = {
            f"p{share}_ms": round(1000 * percentile(self.latencies_s, share / 100), 2)
            for share in (50, 99)
            if self.latencies_s
        }
        return {**rate, **times, **({"failures": dict(self.failures)} if self.failures else {})}


@dataclass(slots=True)
class Opened:
    """A server that holds the documents, and its users.

    filling_cpu_s: of server and users together; loads: by mode and number of clients.
    """

    contender: Contender
    server: Server
    users: Worker
    filled: Mapping[str, Any]
    filling_cpu_s: float
    loads: dict[tuple[str, int], Load] = field(default_factory=dict)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--documents", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each mode and number of clients")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--only", nargs="*", default=[], help="services whose name begins with one of these")


def measure(options: Namespace) -> Mapping[str, object]:
    """Documents a second until searchable, ms of searches, resident MB, and how good the answers were."""
    try:
        abstracts = load_abstracts(options.documents, read_tokenizer(BUNDLED_ENCODER / TOKENIZER))
    except NoData as missing:
        return {"skipped": str(missing)}
    model = make_peer_model(WORKPLACE / "model").resolve()
    checked = min(CHECKED, len(abstracts.queries))
    exact = exact_answers(abstracts, checked, model, FOLDER)
    wanted = tuple(options.only) or ("",)
    chosen = [each for each in CONTENDERS if each.name.startswith(wanted)]
    unavailable: dict[str, str] = {}
    with ExitStack() as stack:
        opened = _open_all(chosen, abstracts, model, stack, unavailable)
        _take_turns(opened, (1, options.clients), options.seconds, unavailable)
        services = {each.contender.name: _summary(each, abstracts, exact) for each in opened}
    return {
        "documents": len(abstracts.ids),
        "clients": options.clients,
        "cores": os.cpu_count(),
        "versions": sorted({each.version() for each in chosen} - {""}),
        "services": services,
        "unavailable": unavailable,
    }


def _open_all(
    chosen: Sequence[Contender],
    abstracts: Abstracts,
    model: Path,
    stack: ExitStack,
    unavailable: dict[str, str],
) -> list[Opened]:
    shutil.rmtree(FOLDER / "data", ignore_errors=True)
    documents = _write(FOLDER / "documents.json", {"ids": abstracts.ids, "texts": abstracts.texts})
    queries = _write(FOLDER / "queries.json", abstracts.queries)
    opened = []
    for each in chosen:
        print(f"filling {each.name} with {len(abstracts.ids):,} documents", file=sys.stderr, flush=True)
        try:
            opened.append(_open(each, documents, queries, model, stack))
        except (PeerUnavailable, ServerFailed, WorkerFailed) as error:
            unavailable[each.name] = str(error)
    return opened


def _write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path.resolve()


def _open(contender: Contender, documents: Path, queries: Path, model: Path, stack: ExitStack) -> Opened:
    """Start a server in a new folder and fill it."""
    folder = (FOLDER / "data" / contender.adapter).resolve()
    folder.mkdir(parents=True)
    running = stack.enter_context(contender.start(folder, model))
    command = [str(interpreter(contender.environment)), str(PEERS / "ask_server.py"), contender.adapter]
    users = stack.enter_context(Worker(command, folder / "users.log", os.cpu_count() or 1))
    given = {"host": running.server.host, "port": running.server.port, **running.given}
    users.ask("open", given=given, queries=str(queries))
    before_s = cpu_seconds(running.server)
    filled = users.ask("ingest", documents=str(documents), batch=BATCH)
    busy_s = cpu_seconds(running.server) - before_s + filled["cpu_s"]
    return Opened(contender, running.server, users, filled, busy_s)


def _take_turns(
    opened: list[Opened], crowds: Sequence[int], seconds: float, unavailable: dict[str, str]
) -> None:
    """Load the servers in turn; one that fails is taken out. The first searches of each are not counted."""
    _each_or_out(opened, unavailable, lambda each: _warm(each, max(crowds)))
    for turn in range(TURNS):
        for clients in dict.fromkeys(crowds):
            load = partial(_load, clients=clients, seconds=seconds / TURNS, skip=turn * CHECKED)
            _each_or_out(opened, unavailable, load)


def _each_or_out(opened: list[Opened], unavailable: dict[str, str], work: Callable[[Opened], object]) -> None:
    for each in tuple(opened):
        try:
            work(each)
        except WorkerFailed as error:
            unavailable[each.contender.name] = str(error)
            opened.remove(each)


def _warm(opened: Opened, clients: int) -> None:
    for mode in opened.contender.modes:
        opened.users.ask("load", mode=mode, clients=clients, seconds=WARM_S, skip=0)


def _load(opened: Opened, clients: int, seconds: float, skip: int) -> None:
    for mode in opened.contender.modes:
        answer = opened.users.ask("load", mode=mode, clients=clients, seconds=seconds, skip=skip)
        opened.loads.setdefault((mode, clients), Load()).add(answer)


def _summary(opened: Opened, abstracts: Abstracts, exact: Sequence[Sequence[int]]) -> dict[str, object]:
    users_mb = opened.users.ask("memory")["resident_mb"]
    return {
        "documents_per_s": round(len(abstracts.ids) / opened.filled["seconds"], 1),
        "documents_per_cpu_s": round(len(abstracts.ids) / opened.filling_cpu_s, 1),
        "vectors": opened.filled["vectors"],
        "ready_s": round(opened.server.ready_s, 1),
        "server_mb": round(opened.server.resident_mb()),
        "server_peak_mb": round(opened.server.peak_mb()),
        "clients_mb": round(users_mb),
        "encodes_in": opened.contender.encodes_in,
        "searches": {mode: _mode(opened, mode, abstracts, exact) for mode in opened.contender.modes},
    }


def _mode(
    opened: Opened, mode: str, abstracts: Abstracts, exact: Sequence[Sequence[int]]
) -> dict[str, object]:
    answer = opened.users.ask("search", mode=mode, first=0, count=len(exact))
    found = positions(answer["ids"], abstracts.ids)
    judged = judged_recall(found, abstracts.relevant)
    loads = {str(clients): load.figures() for (kind, clients), load in opened.loads.items() if kind == mode}
    quality = {"judged_recall": None if judged is None else round(judged, 4)}
    if mode == "dense":
        quality["overlap_with_exact"] = round(recall(found, exact), 4)
    return {"by_clients": loads, **quality}


def positions(answers: Sequence[Sequence[str]], ids: Sequence[str]) -> list[list[int]]:
    """The answers as positions in `ids`. Raises ValueError for an answer that is no document of ours."""
    where = {id_: number for number, id_ in enumerate(ids)}
    strange = sorted({id_ for answer in answers for id_ in answer} - where.keys())
    if strange:
        raise ValueError(f"answers name unknown documents, such as {strange[:3]}")
    return [[where[id_] for id_ in answer] for answer in answers]
