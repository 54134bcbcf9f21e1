"""Texts on which the scales of an 8-bit encoder are measured."""

from collections.abc import Sequence

import numpy as np

from embeddings.batching import token_budget_batches
from embeddings.encoder import Encoder
from training.parity_texts import BUILT_IN
from training.static_quantisation import Feed

_BATCH_TOKENS = 1_024
# Of the caller's, besides the built-in ones.
_MOST_TEXTS = 48


def calibration_texts(given: Sequence[str] = ()) -> list[str]:
    """About a hundred texts from one word to a page, in English, Russian and Chinese, and some of `given`."""
    texts = [
        "",
        "water",
        "вода",
        "水",
        "12.5 mg/kg (n = 34), p < 0.05",
        "def area(r): return 3.14159 * r ** 2",
    ]
    for sample in BUILT_IN:
        sentences = [*sample.queries, *sample.passages]
        texts += sentences
        texts += [" ".join(sentences[start : start + 4]) for start in range(0, len(sentences), 4)]
        texts += [" ".join(sample.passages), " ".join(reversed(sample.passages * 3))]
    step = max(len(given) // _MOST_TEXTS, 1)
    return [*texts, *given[::step][:_MOST_TEXTS]]


def calibration_feeds(encoder: Encoder, texts: Sequence[str]) -> list[Feed]:
    """Batches as the graph takes them, of texts of like length, cut to the model's length."""
    rows = [text.ids for text in encoder.tokenize(texts)]
    batches = token_budget_batches([len(ids) for ids in rows], _BATCH_TOKENS)
    return [_feed([rows[position].tolist() for position in batch]) for batch in batches]


def _feed(rows: Sequence[Sequence[int]]) -> Feed:
    longest = max(len(row) for row in rows)
    ids = [[*row, *[0] * (longest - len(row))] for row in rows]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
    return {"input_ids": np.array(ids, dtype=np.int64), "attention_mask": np.array(mask, dtype=np.int64)}
