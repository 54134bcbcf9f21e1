"""Footnote beside vector indexes and whole document stores: the same texts, vectors and questions in one run.

Each store is filled by a process of its own and opened by another; then all stay open and take turns, so that
a slow minute of the machine falls on all alike. Every peer is searched at the quickest of its settings that
reaches the same recall@10 against exact search. Footnote has no such setting: its recall is what it is.
"""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from tests.benchmarks.environments import OURS, PEERS, WORKPLACE, PeerUnavailable, interpreter
from tests.benchmarks.quantiles import percentile
from tests.benchmarks.scale_corpus import ScaleCorpus, load_corpus
from tests.benchmarks.stores_report import GUIDE_PAGE, markdown, replace_section
from tests.benchmarks.stores_truth import Effort, Tried, choose_effort, exact_nearest, recall
from tests.benchmarks.workers import Worker, WorkerFailed

LIMIT = 10
TARGET_RECALL = 0.97
BUCKETS, ALLOWED_BUCKETS = 1_000, 10
QUERIES = 300
ROUNDS = 3
TURN = 50  # questions before the next store's turn
KINDS = ("dense", "filtered", "hybrid")


@dataclass(frozen=True, slots=True)
class Contender:
    """A store to measure. environment: name of its requirements; adapter: module in peers/; whole: it keeps
    texts and metadata too.
    """

    name: str
    environment: str
    adapter: str
    variant: str = ""
    whole: bool = True


CONTENDERS = (
    Contender("Footnote's index", OURS, "footnote_index_store", whole=False),
    Contender("hnswlib", "hnswlib", "hnswlib_store", whole=False),
    Contender("usearch", "usearch", "usearch_store", whole=False),
    Contender("Footnote", OURS, "footnote_store"),
    Contender("Chroma", "chroma", "chroma_store"),
    Contender("LanceDB, graph", "lancedb", "lancedb_store", "hnsw"),
    Contender("LanceDB, lists", "lancedb", "lancedb_store", "pq"),
    Contender("txtai, Faiss", "txtai", "txtai_store", "faiss"),
    Contender("txtai, hnswlib", "txtai", "txtai_store", "hnsw"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. reuse: keep the stores that an earlier run filled, with their times."""

    sizes: Sequence[int]
    threads: int
    contenders: Sequence[Contender]
    reuse: bool = False


@dataclass(slots=True)
class Opened:
    """A store that is being searched, and what was measured of it. chosen, seconds, found: by kind."""

    worker: Worker
    facts: Mapping[str, Any]
    chosen: dict[str, Tried] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    found: dict[str, list[list[int]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Truth:
    """The exact answers to the first QUERIES questions, by kind of search."""

    exact: Mapping[str, list[list[int]]]

    @staticmethod
    def of(corpus: ScaleCorpus, size: int) -> "Truth":
        vectors, queries = corpus.vectors[:size], corpus.question_vectors[:QUERIES]
        allowed = np.arange(size) % BUCKETS < ALLOWED_BUCKETS
        return Truth(
            {
                "dense": exact_nearest(vectors, queries, LIMIT, np.ones(size, np.bool_)),
                "filtered": exact_nearest(vectors, queries, LIMIT, allowed),
            }
        )


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="for each store")
    parser.add_argument("--only", nargs="*", default=[], help="stores whose name begins with one of these")
    parser.add_argument("--reuse", action="store_true", help="search stores that an earlier run filled")
    parser.add_argument("--write", action="store_true", help="put the tables into the guide")


def measure(options: Namespace) -> Mapping[str, object]:
    wanted = tuple(options.only) or ("",)
    chosen = [each for each in CONTENDERS if each.name.startswith(wanted)]
    plan = Plan(options.sizes, options.threads, chosen, options.reuse)
    corpus = load_corpus(max(plan.sizes))
    folder = _write_corpus(corpus, WORKPLACE / "stores" / "corpus")
    sizes = {str(size): _measure_size(plan, corpus, size, folder) for size in plan.sizes}
    figures = {
        "threads": plan.threads,
        "versions": sorted({_version(each.environment) for each in chosen} - {""}),
        "sizes": sizes,
    }
    if options.write:
        page = GUIDE_PAGE.read_text(encoding="utf-8")
        GUIDE_PAGE.write_text(replace_section(page, markdown(figures)), encoding="utf-8")
    return figures


def _write_corpus(corpus: ScaleCorpus, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    texts = [corpus.text(i) for i in range(len(corpus.members))]
    (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    (folder / "queries.json").write_text(json.dumps(corpus.questions), encoding="utf-8")
    np.save(folder / "vectors.npy", corpus.vectors)
    np.save(folder / "queries.npy", corpus.question_vectors)
    return folder.resolve()


def _version(environment: str) -> str:
    """The pinned version of the library that an environment is for; "" for Footnote's own."""
    if environment == OURS:
        return ""
    pins = (PEERS / f"{environment}.txt").read_text(encoding="utf-8").split()
    return next(pin.replace("==", " ") for pin in pins if pin.startswith(environment))


def _measure_size(plan: Plan, corpus: ScaleCorpus, size: int, folder: Path) -> dict[str, object]:
    filled: dict[str, Mapping[str, Any]] = {}
    opened: dict[str, Opened] = {}
    unavailable: dict[str, str] = {}
    with ExitStack() as stack:
        for each in plan.contenders:
            try:
                filled[each.name] = _fill(plan, each, size, folder)
            except (PeerUnavailable, WorkerFailed) as error:
                unavailable[each.name] = str(error)
        truth = Truth.of(corpus, size)
        for each in plan.contenders:
            if each.name in filled:
                try:
                    opened[each.name] = _tuned(plan, each, size, folder, truth, stack)
                except WorkerFailed as error:
                    unavailable[each.name] = str(error)
        _take_turns(opened, unavailable)
        stores = {
            name: _summary(store, filled[name], truth, size) | {"whole": _whole(plan, name)}
            for name, store in opened.items()
        }
    return {"stores": stores, "unavailable": unavailable}


def _fill(plan: Plan, contender: Contender, size: int, corpus: Path) -> Mapping[str, Any]:
    """What filling the store took. It is kept beside the store."""
    folder = _folder(contender, size)
    kept = folder.with_suffix(".json")
    if plan.reuse and kept.is_file():
        known: Mapping[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return known
    print(f"filling {contender.name} with {size:,} texts", file=sys.stderr, flush=True)
    with _worker(plan, contender) as worker:
        filled = worker.ask("fill", corpus=str(corpus), folder=str(folder), threads=plan.threads, size=size)
    kept.write_text(json.dumps(filled), encoding="utf-8")
    return filled


def _open(plan: Plan, contender: Contender, size: int, corpus: Path, stack: ExitStack) -> Opened:
    worker = stack.enter_context(_worker(plan, contender))
    folder = _folder(contender, size)
    facts = worker.ask("open", corpus=str(corpus), folder=str(folder), threads=plan.threads)
    return Opened(worker, facts)


def _tuned(
    plan: Plan, contender: Contender, size: int, corpus: Path, truth: Truth, stack: ExitStack
) -> Opened:
    """A store with its efforts chosen, in a process that has not tried the others: some stores have to be
    opened again for each, and keep the memory.
    """
    with ExitStack() as trying:
        tried = _open(plan, contender, size, corpus, trying)
        _tune(tried, truth)
    opened = _open(plan, contender, size, corpus, stack)
    opened.chosen = tried.chosen
    return opened


def _worker(plan: Plan, contender: Contender) -> Worker:
    python, log = interpreter(contender.environment), WORKPLACE / "logs" / f"{contender.adapter}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(python), str(PEERS / "store_worker.py"), contender.adapter, contender.variant]
    return Worker(command, log, plan.threads)


def _folder(contender: Contender, size: int) -> Path:
    name = f"{contender.adapter}-{contender.variant}".rstrip("-")
    return (WORKPLACE / "stores" / str(size) / name).resolve()


def _whole(plan: Plan, name: str) -> bool:
    return next(each.whole for each in plan.contenders if each.name == name)


def _tune(store: Opened, truth: Truth) -> None:
    """Choose the effort of each kind of search that the store has."""
    offered: dict[str, Sequence[Effort]] = {
        "dense": store.facts["efforts"],
        "filtered": store.facts["filtered_efforts"],
    }
    for kind, efforts in offered.items():
        if efforts:
            store.chosen[kind] = choose_effort(efforts, partial(_try, store, truth, kind), TARGET_RECALL)
    if store.facts["finds_words"]:
        store.chosen["hybrid"] = store.chosen["dense"]


def _try(store: Opened, truth: Truth, kind: str, effort: Effort) -> Tried:
    answer = store.worker.ask("search", kind=kind, effort=effort, first=0, count=QUERIES)
    tried = Tried(effort, recall(answer["ids"], truth.exact[kind]), median(answer["seconds"]))
    print(
        f"    {kind} {effort} {tried.recall:.3f} {tried.seconds * 1000:.2f} ms", file=sys.stderr, flush=True
    )
    return tried


def _take_turns(stores: Mapping[str, Opened], unavailable: dict[str, str]) -> None:
    for kind in KINDS:
        for number in range(ROUNDS * QUERIES // TURN):
            first = number * TURN % QUERIES
            for name, store in stores.items():
                if kind in store.chosen:
                    try:
                        _ask_turn(store, kind, first)
                    except WorkerFailed as error:
                        unavailable[f"{name}, {kind}"] = str(error)
                        del store.chosen[kind]


def _ask_turn(store: Opened, kind: str, first: int) -> None:
    effort = store.chosen[kind].effort
    answer = store.worker.ask("search", kind=kind, effort=effort, first=first, count=TURN)
    store.seconds.setdefault(kind, []).extend(answer["seconds"])
    store.found.setdefault(kind, []).extend(answer["ids"])


def _summary(store: Opened, filled: Mapping[str, Any], truth: Truth, size: int) -> dict[str, object]:
    searches = {kind: _search_figures(store, kind, truth) for kind in KINDS if kind in store.chosen}
    return {
        "documents_per_second": round(size / filled["filled_s"]),
        "searchable_s": round(filled["searchable_s"], 2),
        "filled_s": round(filled["filled_s"], 2),
        "steps": {name: round(seconds, 2) for name, seconds in filled["steps"].items()},
        "filling_peak_mb": round(filled["peak_mb"]),
        "disk_mb": round(store.facts["disk_bytes"] / 1e6, 1),
        "opening_ms": round(store.facts["opening_s"] * 1000, 1),
        "serving_peak_mb": round(store.worker.ask("memory")["peak_mb"] - store.facts["before_mb"]),
        "searches": searches,
    }


def _search_figures(store: Opened, kind: str, truth: Truth) -> dict[str, object]:
    seconds = store.seconds[kind]
    figures: dict[str, object] = {
        "effort": store.chosen[kind].effort,
        "queries_per_second": round(len(seconds) / sum(seconds)),
        "p50_ms": round(1000 * percentile(seconds, 0.5), 2),
        "p99_ms": round(1000 * percentile(seconds, 0.99), 2),
    }
    if kind in truth.exact:
        figures["recall@10"] = round(recall(store.found[kind], ROUNDS * truth.exact[kind]), 4)
    return figures
