"""Encoders of random weights that a test trains in a second."""

import tempfile
from functools import lru_cache
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

from tests.training.encoder_fixtures import write_encoder
from training.siamese.types import LabelledText, Pair, ScoredPair, TrainingData

SUBJECTS = ("engines", "rivers", "bread", "planets", "violins", "bridges", "bees", "clocks")
VERBS = ("work", "begin", "break", "cost", "grow")


@lru_cache
def encoder_folder(architecture: str = "bert") -> Path:
    """A folder of sentence-transformers, written once a process; the same in each."""
    torch.manual_seed(7)
    return write_encoder(architecture, Path(tempfile.mkdtemp()))


def encoder(architecture: str = "bert") -> SentenceTransformer:
    """A new copy of the same small model."""
    torch.manual_seed(7)
    return SentenceTransformer(str(encoder_folder(architecture)), device="cpu")


def pairs(negatives: int = 0) -> tuple[Pair, ...]:
    """Forty questions, each with its passage."""
    return tuple(
        Pair(
            f"how do {subject} {verb}",
            f"{subject} {verb} when the work of the {subject} is done in the right order",
            group=f"{subject}-{verb}",
            negatives=tuple(f"{other} never {verb}" for other in SUBJECTS if other != subject)[:negatives],
        )
        for subject in SUBJECTS
        for verb in VERBS
    )


def triplets() -> TrainingData:
    return TrainingData(pairs=pairs(negatives=2))


def scored() -> TrainingData:
    """Pairs of three degrees."""
    return TrainingData(
        scored=tuple(
            ScoredPair(pair.query, text, score, pair.group)
            for pair in pairs(negatives=1)
            for text, score in ((pair.positive, 0.9), (pair.query, 1.0), (pair.negatives[0], 0.1))
        )
    )


def labelled() -> TrainingData:
    """Questions by their subject."""
    return TrainingData(
        labelled=tuple(
            LabelledText(pair.query, subject)
            for subject in SUBJECTS
            for pair in pairs()
            if pair.group.startswith(subject)
        )
    )
