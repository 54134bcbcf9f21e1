"""How good an encoder is while it is trained: nDCG@10 of a few queries over a part of the corpus."""

import random
from collections.abc import Callable, Sequence

import numpy as np
from sentence_transformers import SentenceTransformer

from training.siamese.encoding import encode_with
from training.siamese.types import Corpus, Pair

MAX_QUERIES = 200
MAX_PASSAGES = 500  # encoded anew at each evaluation: about ten seconds on two cores


def make_validator(
    pairs: Sequence[Pair], corpus: Corpus, seed: int
) -> Callable[[SentenceTransformer], float] | None:
    """A function that gives the mean nDCG@10, 0 to 1, of these pairs' queries; None without pairs.

    Right are the passages that the pairs name; the others are drawn from the corpus.
    """
    if not pairs:
        return None
    rng = random.Random(seed)
    right: dict[str, set[str]] = {}
    for pair in rng.sample(list(pairs), len(pairs)):
        if pair.query in right or len(right) < MAX_QUERIES:
            right.setdefault(pair.query, set()).add(pair.positive)
    passages = list(dict.fromkeys(text for texts in right.values() for text in sorted(texts)))
    passages += _others(corpus, set(passages), MAX_PASSAGES - len(passages), rng)
    return lambda model: _mean_ndcg(model, right, passages)


def _others(corpus: Corpus, taken: set[str], count: int, rng: random.Random) -> list[str]:
    rest = [text for text in dict.fromkeys(corpus.values()) if text not in taken]
    return rng.sample(rest, min(max(count, 0), len(rest)))


def _mean_ndcg(model: SentenceTransformer, right: dict[str, set[str]], passages: list[str]) -> float:
    encode = encode_with(model)
    scores = encode(list(right), "query") @ encode(passages, "passage").T  # (queries, passages)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    discounts = 1 / np.log2(np.arange(2, 12))
    values = []
    for places, wanted in zip(best, right.values(), strict=True):
        gains = [passages[place] in wanted for place in places]
        ideal = discounts[: min(len(wanted), 10)].sum()
        values.append(float((discounts[: len(gains)] * gains).sum() / ideal))
    return float(np.mean(values))
