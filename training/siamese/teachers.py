"""Scores that another model gives to examples: margins for MarginMSE, a guide for GIST."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import CrossEncoder, SentenceTransformer

from embeddings.errors import InvalidInput
from training.siamese.batches import Tokeniser
from training.siamese.cpu_training import encode_fast
from training.siamese.examples import Example
from training.siamese.objectives import TRIPLET_MARGIN
from training.siamese.plan import Objective


def guide_of(model: SentenceTransformer, objective: Objective) -> SentenceTransformer | None:
    """GIST's guide: the named teacher, or the model as it is now; None for other objectives."""
    if objective.name != "GIST":
        return None
    guide = _encoder(Path(objective.teacher)) if objective.teacher else copy.deepcopy(model)
    return guide.eval().requires_grad_(requires_grad=False)


def with_margins(
    model: SentenceTransformer, examples: Sequence[Example], objective: Objective, max_tokens: int
) -> list[Example]:
    """Triplets labelled with the teacher's margin between positive and negative (Hofstätter et al. 2020).

    A cross-encoder's scores are taken as probabilities, 0 to 1, so that their margins are of the size of
    cosines'. The base encoder would learn nothing from its own margins: they are at least `objective.margin`
    (0.2 without one), which the labels promise.
    """
    if objective.teacher is None:
        margins = _margins(model, examples, max_tokens)
        floor = TRIPLET_MARGIN if objective.margin is None else objective.margin
        margins = np.maximum(margins, floor)
    elif (Path(objective.teacher) / "modules.json").is_file():
        margins = _margins(_encoder(Path(objective.teacher)), examples, max_tokens)
    else:
        margins = _cross_margins(Path(objective.teacher), examples)
    return [replace(each, label=float(margin)) for each, margin in zip(examples, margins, strict=True)]


def _encoder(folder: Path) -> SentenceTransformer:
    if not (folder / "modules.json").is_file():
        raise InvalidInput(
            f"{folder} is not an encoder of sentence-transformers",
            field="objective.teacher",
            found=str(folder),
            expected="a folder with modules.json",
        )
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def _margins(model: SentenceTransformer, examples: Sequence[Example], max_tokens: int) -> NDArray[np.float32]:
    tokeniser = Tokeniser(model, max_tokens)
    vectors = []
    for column, texts in enumerate(zip(*(each.texts for each in examples), strict=True)):
        unique = list(dict.fromkeys(texts))
        found = encode_fast(model, tokeniser.rows(unique, column))
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        place = {text: row for row, text in enumerate(unique)}
        vectors.append(found[[place[text] for text in texts]])
    query, positive, negative = vectors
    margins: NDArray[np.float32] = (query * (positive - negative)).sum(axis=1)
    return margins


def _cross_margins(folder: Path, examples: Sequence[Example]) -> NDArray[np.float32]:
    if not (folder / "config.json").is_file():
        raise InvalidInput(
            f"{folder} holds no model",
            field="objective.teacher",
            found=str(folder),
            expected="a folder of a cross-encoder or of an encoder of sentence-transformers",
        )
    teacher = CrossEncoder(str(folder), device="cpu", local_files_only=True)
    if teacher.num_labels != 1:
        raise InvalidInput(
            "the teacher gives more than one score to a pair",
            field="objective.teacher",
            found=f"{teacher.num_labels} scores",
            expected="1 score, as rerankers give",
        )
    pairs = [(each.texts[0], text) for each in examples for text in each.texts[1:]]
    scores = np.asarray(teacher.predict(pairs, show_progress_bar=False), np.float32).reshape(-1, 2)
    margins: NDArray[np.float32] = scores[:, 0] - scores[:, 1]
    return margins
