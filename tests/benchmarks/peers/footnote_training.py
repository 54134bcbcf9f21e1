"""Footnote's training with its defaults: no padding, bf16, checkpoints and the loss curve written."""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

import torch
from sentence_transformers import SentenceTransformer

from training.siamese.fitting import Watch, fit
from training.siamese.plan import Objective, Optimisation
from training.siamese.types import Pair, TrainingData


def train(model: Path, pairs: Sequence[tuple[str, str]], batch: int, steps: int, threads: int) -> list[float]:
    torch.set_num_threads(threads)
    encoder = SentenceTransformer(str(model), device="cpu", local_files_only=True)
    data = TrainingData(pairs=tuple(Pair(query, passage, passage) for query, passage in pairs))
    ends: list[float] = []

    def show(_what: str, done: int, _total: int) -> None:
        if done > len(ends):
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        settings = Optimisation(batch_examples=batch, max_steps=steps, epochs=1000)
        fit(encoder, data, Objective(), settings, Watch(Path(folder), show))
    return ends
