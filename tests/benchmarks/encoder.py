"""The bundled encoder against its peers with the same weights: speed, time of a query, memory, agreement.

All of them stay loaded, and every measure goes round them in turn, so that a slow minute of the machine
falls on all alike; ratios are taken within a round.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.artifact import BUNDLED_ENCODER
from embeddings.encoder import Encoder
from tests.benchmarks.bound import graph_speed, measure_clock_ghz
from tests.benchmarks.environments import OURS, WORKPLACE, PeerUnavailable, interpreter
from tests.benchmarks.peer_model import make_peer_model
from tests.benchmarks.texts import Sizes, TextSet
from tests.benchmarks.workers import Worker, WorkerFailed

TIMED_SETS = ("abstracts", "queries", "mix", "tokens_128")
REFERENCE = "sentence-transformers fp32"
# An encoder below it computes something else. int8 of these weights stays above .98 on such texts.
LOWEST_COSINE = 0.95
CALLS_A_TURN = 100
# Sizes that a peer may take its pick of. Most of them ask for 32 by default; on a mix, padding decides.
BATCH_SIZES = (8, 16, 32)


@dataclass(frozen=True, slots=True)
class Contender:
    """An encoder to measure. environment: name of its requirements; adapter: module in peers/."""

    name: str
    environment: str
    adapter: str
    variant: str = ""


CONTENDERS = (
    Contender("Footnote", OURS, "footnote_adapter"),
    Contender(REFERENCE, "sentence_transformers", "sentence_transformers_adapter", "fp32"),
    Contender("sentence-transformers bf16", "sentence_transformers", "sentence_transformers_adapter", "bf16"),
    Contender("fastembed fp32", "fastembed", "fastembed_adapter", "fp32"),
    Contender("fastembed int8", "fastembed", "fastembed_adapter", "int8"),
    Contender("infinity torch bf16", "infinity", "infinity_adapter", "torch-bf16"),
    Contender("infinity ONNX int8", "infinity", "infinity_adapter", "onnx-int8"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. singles: calls with one query for each encoder; threads: for each encoder;
    batch_sizes: in texts, of which each peer gets its fastest.
    """

    rounds: int = 5
    singles: int = 2_000
    sizes: Sizes = field(default_factory=Sizes)
    http_rounds: int = 3
    http_seconds: float = 10.0
    contenders: tuple[Contender, ...] = CONTENDERS
    threads: int = os.cpu_count() or 1
    batch_sizes: tuple[int, ...] = BATCH_SIZES


@dataclass(slots=True)
class Figures:
    """What was measured of one encoder. seconds: of each round, by set; cosines: to the reference's rows."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    singles_s: list[float] = field(default_factory=list)
    lowest_cosine: float = 1.0
    mean_cosine: float = 1.0
    batch_texts: int = 0
    load_s: float = 0.0
    peak_mb: float = 0.0


@dataclass(slots=True)
class Graph:
    """Our graph alone, 8 x 128 tokens on each core. tokens_per_second and clock_ghz: of each round."""

    tokens_per_second: list[float] = field(default_factory=list)
    clock_ghz: list[float] = field(default_factory=list)


@dataclass(slots=True)
class InProcess:
    """Figures by encoder; unavailable: why a peer is not among them."""

    figures: dict[str, Figures]
    graph: Graph
    unavailable: dict[str, str]


def measure_in_process(plan: Plan, sets: Mapping[str, TextSet]) -> InProcess:
    """Start all encoders, check that they agree, and measure them in turn."""
    figures: dict[str, Figures] = {}
    unavailable: dict[str, str] = {}
    with ExitStack() as stack:
        workers = {}
        for contender in plan.contenders:
            try:
                batch_texts = fastest_batch(contender, plan, sets)
                print(f"loading {contender.name}, {batch_texts} texts a batch", file=sys.stderr)
                worker, load_s = _start(stack, contender, plan.threads, batch_texts, sets)
            except (PeerUnavailable, WorkerFailed) as error:
                unavailable[contender.name] = str(error)
            else:
                workers[contender.name] = worker
                figures[contender.name] = Figures(batch_texts=batch_texts, load_s=load_s)
        compare({name: _vectors(worker) for name, worker in workers.items()}, figures)
        graph = _time_rounds(plan, workers, figures, sets)
        _time_singles(plan, workers, figures)
        for name, worker in workers.items():
            figures[name].peak_mb = worker.ask("memory")["peak_mb"]
    return InProcess(figures, graph, unavailable)


def fastest_batch(contender: Contender, plan: Plan, sets: Mapping[str, TextSet]) -> int:
    """The size among the plan's that this encoder is fastest with on a part of the mix."""
    if contender.environment == OURS or len(plan.batch_sizes) == 1:
        return plan.batch_sizes[-1]
    seconds = {}
    for batch_texts in plan.batch_sizes:
        with ExitStack() as stack:
            worker, _ = _start(stack, contender, plan.threads, batch_texts, sets)
            seconds[batch_texts] = min(worker.ask("encode", texts="tuning")["seconds"] for _ in range(3))
    return min(seconds, key=lambda batch_texts: seconds[batch_texts])


def _start(
    stack: ExitStack, contender: Contender, threads: int, batch_texts: int, sets: Mapping[str, TextSet]
) -> tuple[Worker, float]:
    """A worker that has its model and its texts, and the seconds that the model took to open."""
    python = interpreter(contender.environment)
    model = make_peer_model(WORKPLACE / "model").resolve()
    log = WORKPLACE / "logs" / f"{contender.name.replace(' ', '_')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    worker = stack.enter_context(Worker.of(python, contender.adapter, log, threads))
    opened = worker.ask(
        "load", model=str(model), variant=contender.variant, threads=threads, batch_texts=batch_texts
    )
    for each in sets.values():
        worker.ask("texts", name=each.name, path=str(_text_file(each)))
    worker.ask("encode", texts="sample")
    return worker, float(opened["seconds"])


def _text_file(texts: TextSet) -> Path:
    path = (WORKPLACE / "texts" / f"{texts.name}.json").resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(texts.texts), encoding="utf-8")
    return path


def compare(rows: Mapping[str, NDArray[np.float32]], figures: Mapping[str, Figures]) -> None:
    """Note the cosines of each encoder's rows to the reference's, which are unit rows.

    Raises ValueError for an encoder that computes something else: its speed would mean nothing.
    """
    for name, found in rows.items():
        cosines = np.sum(found * rows[REFERENCE], axis=1) / np.linalg.norm(found, axis=1)
        figures[name].lowest_cosine = float(cosines.min())
        figures[name].mean_cosine = float(cosines.mean())
        if cosines.min() < LOWEST_COSINE:
            raise ValueError(f"{name}: found a cosine of {cosines.min():.3f} to {REFERENCE}")


def _vectors(worker: Worker) -> NDArray[np.float32]:
    path = (WORKPLACE / "vectors.npy").resolve()
    worker.ask("vectors", texts="sample", path=str(path))
    rows: NDArray[np.float32] = np.load(path)
    return rows


def _time_rounds(
    plan: Plan, workers: Mapping[str, Worker], figures: Mapping[str, Figures], sets: Mapping[str, TextSet]
) -> Graph:
    graph, encoder = Graph(), Encoder.load(BUNDLED_ENCODER, threads=1)
    batch = [text.ids for text in encoder.tokenize(sets["tokens_128"].texts[:8], "")]
    runs = len(sets["tokens_128"].texts) // 4
    graph_speed(encoder, plan.threads, batch, runs=2)
    for number in range(plan.rounds):
        print(f"round {number + 1} of {plan.rounds}", file=sys.stderr)
        for texts in TIMED_SETS:
            for name, worker in workers.items():
                seconds = worker.ask("encode", texts=texts)["seconds"]
                figures[name].seconds.setdefault(texts, []).append(seconds)
        graph.clock_ghz.append(measure_clock_ghz())
        graph.tokens_per_second.append(graph_speed(encoder, plan.threads, batch, runs))
    return graph


def _time_singles(plan: Plan, workers: Mapping[str, Worker], figures: Mapping[str, Figures]) -> None:
    print("single queries", file=sys.stderr)
    for worker in workers.values():
        worker.ask("singles", texts="tokens_16", calls=min(20, plan.singles))
    for done in range(0, plan.singles, CALLS_A_TURN):
        calls = min(CALLS_A_TURN, plan.singles - done)
        for name, worker in workers.items():
            answer = worker.ask("singles", texts="tokens_16", calls=calls, skip=done)
            figures[name].singles_s.extend(answer["seconds"])


def chosen_contenders(names: Sequence[str]) -> tuple[Contender, ...]:
    """Footnote, the reference, and those whose name begins with one of these; all when there are none."""
    always = ("Footnote", REFERENCE)
    wanted = tuple(names) or ("",)
    return tuple(each for each in CONTENDERS if each.name in always or each.name.startswith(wanted))
