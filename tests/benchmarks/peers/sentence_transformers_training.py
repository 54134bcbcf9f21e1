"""sentence-transformers' own trainer with its defaults (fp32), as its documentation shows."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.losses import MultipleNegativesRankingLoss
from transformers import TrainerCallback

MAX_TOKENS = 256


class _Clock(TrainerCallback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_arguments: Any, **_options: Any) -> None:
        self.ends.append(time.perf_counter())


def train(model: Path, pairs: Sequence[tuple[str, str]], batch: int, steps: int, threads: int) -> list[float]:
    torch.set_num_threads(threads)
    encoder = SentenceTransformer(str(model), device="cpu", local_files_only=True)
    encoder.max_seq_length = MAX_TOKENS
    queries, passages = zip(*pairs, strict=True)
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = SentenceTransformerTrainer(
            model=encoder,
            args=SentenceTransformerTrainingArguments(
                output_dir=folder,
                max_steps=steps,
                per_device_train_batch_size=batch,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_dict({"query": list(queries), "passage": list(passages)}),
            loss=MultipleNegativesRankingLoss(encoder),
            callbacks=[clock],
        )
        trainer.train()
    return clock.ends
