"""Bulk embedding by one and two workers, in this process and on a Ray cluster of this machine.

Each round takes all four in turn, so that a slow minute of the machine falls on all alike. What Ray costs is
told in two parts: the seconds until its actors hold the encoder, once a job, and the time of the texts.
"""

import gzip
import json
import statistics
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from app.bulk.embedding import BulkOptions, embed_file
from embeddings.artifact import BUNDLED_ENCODER
from embeddings.distributed.opening import ray_engine
from embeddings.encoder import Encoder
from embeddings.engine import EncoderEngine, Lane
from tests.benchmarks.texts import data_folder
from tests.engines.ray_cluster import ray_nodes

WORKERS = (1, 2)
# Small windows: with few texts each worker still gets several.
OPTIONS = BulkOptions(window_lines=64, truncate="end")


@dataclass(slots=True)
class Times:
    """Seconds of each round. start: until every worker holds the encoder; embed: of all texts after that."""

    start: list[float] = field(default_factory=list)
    embed: list[float] = field(default_factory=list)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--texts", type=int, default=2_000, help="SciFact abstracts, some 290 tokens each")
    parser.add_argument("--rounds", type=int, default=3)


def measure(arguments: Namespace) -> Mapping[str, object]:
    """Texts a second, scaling from one worker to two, and what Ray adds."""
    encoder = Encoder.load(BUNDLED_ENCODER)
    times = {(place, count): Times() for place in ("here", "ray") for count in WORKERS}
    with TemporaryDirectory() as name, ray_nodes() as nodes:
        nodes.start_second()
        folder = Path(name)
        source = _write_texts(folder, arguments.texts)
        for _ in range(arguments.rounds):
            for (place, count), kept in times.items():
                target = folder / f"{place}-{count}.parquet"
                opened = _here if place == "here" else _on_ray
                with opened(encoder, count, nodes.address) as engine:
                    _embed(source, target, encoder, engine, kept)
        difference = _difference(folder / "here-2.parquet", folder / "ray-2.parquet")
    return _figures(arguments, times) | {"largest_difference": difference}


def _write_texts(folder: Path, count: int) -> Path:
    path = folder / "texts.jsonl"
    with gzip.open(data_folder() / "scifact" / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for _, line in zip(range(count), lines, strict=False)]
    path.write_text("".join(json.dumps({"id": n, "text": r["text"]}) + "\n" for n, r in enumerate(records)))
    return path


@contextmanager
def _here(encoder: Encoder, count: int, _address: str) -> Iterator[EncoderEngine]:
    engine = EncoderEngine(encoder, count)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def _on_ray(encoder: Encoder, count: int, address: str) -> Iterator[Any]:
    with ray_engine(address, encoder, BUNDLED_ENCODER, workers=count, size=count) as engine:
        yield engine


def _embed(source: Path, target: Path, encoder: Encoder, engine: Any, kept: Times) -> None:
    began = time.perf_counter()
    engine.submit(["a"], prompt="passage", lane=Lane.BULK).result()
    while not isinstance(engine, EncoderEngine) and engine.pool.opening:
        time.sleep(0.05)
    started = time.perf_counter()
    embed_file(source, target, encoder, engine, OPTIONS, restart=True)
    kept.start.append(started - began)
    kept.embed.append(time.perf_counter() - started)


def _figures(arguments: Namespace, times: Mapping[tuple[str, int], Times]) -> dict[str, object]:
    seconds = {key: statistics.median(kept.embed) for key, kept in times.items()}
    figures: dict[str, object] = {"texts": arguments.texts, "rounds": arguments.rounds}
    for (place, count), value in seconds.items():
        figures[f"{place}_{count}_texts_per_s"] = round(arguments.texts / value, 1)
    for place in ("here", "ray"):
        efficiency = seconds[place, 1] / (2 * seconds[place, 2])
        figures[f"{place}_scaling_efficiency"] = round(efficiency, 3)
    for count in WORKERS:
        pairs = zip(times["ray", count].embed, times["here", count].embed, strict=True)
        overhead = statistics.median(ray / here - 1 for ray, here in pairs)
        figures[f"ray_{count}_overhead"] = round(overhead, 3)
        figures[f"ray_{count}_start_s"] = round(statistics.median(times["ray", count].start), 2)
    return figures


def _difference(first: Path, second: Path) -> float:
    """The largest between two numbers of the vectors."""
    return float(np.abs(_vectors(first) - _vectors(second)).max())


def _vectors(path: Path) -> NDArray[np.float32]:
    return np.array(pq.read_table(path)["embedding"].to_pylist(), dtype=np.float32)
