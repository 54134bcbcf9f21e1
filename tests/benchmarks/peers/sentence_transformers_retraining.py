"""An encoder fine-tuned as sentence-transformers' documentation shows it, without any tuning.

    python sentence_transformers_retraining.py MODEL EXAMPLES OUTPUT

EXAMPLES is JSON: `{"query": [...], "passage": [...]}` or `{"text": [...], "label": [...]}`. For pairs it is
the script of the training overview (MultipleNegativesRankingLoss, one epoch, batches of 16 without
duplicates, 2e-5, a tenth of it warm-up), for labels the one of `training_batch_hard_trec.py`
(BatchAllTripletLoss, one epoch, batches of 32 grouped by label). The last line says how many seconds
training took.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.losses import BatchAllTripletLoss, MultipleNegativesRankingLoss
from sentence_transformers.training_args import BatchSamplers

PAIRS = {"per_device_train_batch_size": 16, "batch_sampler": BatchSamplers.NO_DUPLICATES}
LABELS = {"per_device_train_batch_size": 32, "batch_sampler": BatchSamplers.GROUP_BY_LABEL}


def fine_tune(model: str, examples: dict[str, list[Any]], output: str) -> float:
    """Train on all examples and save; seconds of the training alone."""
    encoder = SentenceTransformer(model, device="cpu", local_files_only=True)
    labelled = "label" in examples
    loss = BatchAllTripletLoss if labelled else MultipleNegativesRankingLoss
    with tempfile.TemporaryDirectory() as folder:
        settings = SentenceTransformerTrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            learning_rate=2e-5,
            warmup_ratio=0.1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **(LABELS if labelled else PAIRS),
        )
        trainer = SentenceTransformerTrainer(
            model=encoder, args=settings, train_dataset=Dataset.from_dict(examples), loss=loss(encoder)
        )
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
    encoder.save(output)
    return seconds


if __name__ == "__main__":
    print(
        json.dumps(
            {"seconds": fine_tune(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), sys.argv[3])}
        )
    )
