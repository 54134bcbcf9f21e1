"""Distractor passages: what the bundled encoder finds beside the right context."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from embeddings.encoder import Encoder
from training.decoder_data import QaRecord

ENCODER = Path(__file__).parents[1] / "embeddings" / "bundled"
_BLOCK = 1024  # questions that are scored together


def near_contexts(records: Sequence[QaRecord], cache: Path, count: int = 8) -> Mapping[str, Sequence[str]]:
    """By question, the contexts nearest to it without its own, from those of all records.

    cache: where the result is kept, since a run resumes.
    """
    contexts = list(dict.fromkeys(record.context for record in records))
    place = {context: index for index, context in enumerate(contexts)}
    asked = {record.question: place[record.context] for record in records}
    if not cache.exists():
        cache.write_text(json.dumps(_search(list(asked), contexts, list(asked.values()), count)))
    rows = json.loads(cache.read_text())
    return {question: [contexts[i] for i in row] for question, row in zip(asked, rows, strict=True)}


def _search(
    questions: Sequence[str], contexts: Sequence[str], own: Sequence[int], count: int
) -> list[list[int]]:
    encoder = Encoder.load(ENCODER, torch.get_num_threads())
    passages = encoder.encode(contexts, "passage").T
    found: list[list[int]] = []
    for first in range(0, len(questions), _BLOCK):
        scores = encoder.encode(questions[first : first + _BLOCK], "query") @ passages
        scores[np.arange(len(scores)), own[first : first + _BLOCK]] = -1.0
        found += np.argpartition(-scores, count, axis=1)[:, :count].tolist()
    return found
