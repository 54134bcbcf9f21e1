"""`python -m tests.benchmarks training-speed`: tokens a second learned from, beside sentence-transformers.

Both train the same model on the same pairs of SciFact (claims and abstracts) with the same loss and batches
of the same size, everything else being each one's default, by turns in processes of their own.
"""

import json
import os
import random
import statistics
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.encoder_speed import machine
from tests.benchmarks.environments import OURS, PEERS, WORKPLACE, PeerUnavailable, interpreter
from tests.benchmarks.texts import NoData, data_folder
from tests.benchmarks.workers import Worker

PEER = "sentence_transformers"
ADAPTERS = {OURS: "footnote_training", PEER: "sentence_transformers_training"}
MAX_TOKENS = 256
SEED = 20_261_121
Pairs = Sequence[tuple[str, str]]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=3, help="of both trainers by turns (%(default)s)")
    parser.add_argument("--batch", type=int, default=32, help="pairs of a batch (%(default)s)")
    parser.add_argument("--steps", type=int, default=9, help="of a round, the first not timed (%(default)s)")


def measure(arguments: Namespace) -> Mapping[str, object]:
    """Tokens a second of each trainer, by round and in the median, and their ratio; peaks of memory in MB."""
    from training.minilm import minilm_directory  # noqa: PLC0415

    try:
        pairs = read_pairs(data_folder())
        pythons = {name: interpreter(name) for name in ADAPTERS}
    except (NoData, PeerUnavailable) as error:
        return {"skipped": str(error)}
    model, threads = minilm_directory(), os.cpu_count() or 1
    tokens = mean_tokens(pairs, model) * arguments.batch
    load = os.getloadavg()[0]
    rounds = [
        {name: _train(python, name, model, pairs, arguments, threads) for name, python in pythons.items()}
        for _ in range(arguments.rounds)
    ]
    return {
        "machine": machine(),
        "load_average_before": round(load, 2),
        "pairs": len(pairs),
        "batch": arguments.batch,
        "tokens_per_step": round(tokens),
        **summarise(rounds, tokens),
    }


def summarise(rounds: Sequence[Mapping[str, Mapping[str, Any]]], tokens: float) -> dict[str, object]:
    """rounds: of each, by trainer, its seconds of steps and its peak of memory; tokens: of a step."""
    speeds = {
        name: [tokens / statistics.mean(each[name]["seconds"]) for each in rounds] for name in rounds[0]
    }
    ratios = [ours / theirs for ours, theirs in zip(speeds[OURS], speeds[PEER], strict=True)]
    return {
        "tokens_per_s": {name: [round(speed) for speed in found] for name, found in speeds.items()},
        "median_tokens_per_s": {name: round(statistics.median(found)) for name, found in speeds.items()},
        "peak_mb": {name: round(max(each[name]["peak_mb"] for each in rounds)) for name in rounds[0]},
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "passed": statistics.median(ratios) >= 3,
    }


def read_pairs(folder: Path) -> list[tuple[str, str]]:
    """Claims and abstracts of SciFact's training half, each claim and each abstract once, in random order."""
    from retrieval.benchmark import load_task  # noqa: PLC0415

    task = load_task(folder / "scifact", "train")
    pairs = list(_distinct(task.queries, task.qrels, task.documents))
    random.Random(SEED).shuffle(pairs)
    return pairs


def _distinct(
    queries: Mapping[str, str], qrels: Mapping[str, Mapping[str, int]], documents: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    taken = set[str]()
    for query, found in qrels.items():
        passage = next((each for each, grade in found.items() if grade and each not in taken), None)
        if passage is not None:
            taken.add(passage)
            yield queries[query], documents[passage]


def mean_tokens(pairs: Pairs, model: Path) -> float:
    """Tokens of a pair as both see them: with special tokens, cut at 256, without padding."""
    from tokenizers import Tokenizer  # noqa: PLC0415

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    encodings = tokenizer.encode_batch([text for pair in pairs for text in pair])
    return sum(len(each.ids) for each in encodings) / len(pairs)


def _train(
    python: Path, name: str, model: Path, pairs: Pairs, arguments: Namespace, threads: int
) -> Mapping[str, Any]:
    WORKPLACE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORKPLACE) as folder:
        path = Path(folder) / "pairs.json"
        path.write_text(json.dumps(pairs), encoding="utf-8")
        command = [str(python), str(PEERS / "training_worker.py"), ADAPTERS[name]]
        with Worker(command, Path(folder) / "log", threads) as worker:
            return worker.ask(
                "train",
                model=str(model.resolve()),
                pairs=str(path.resolve()),
                batch=arguments.batch,
                steps=arguments.steps,
                threads=threads,
            )
