"""Does a search for a written query find the passage that it was written for?

Source: Dai et al., "Promptagator: Few-shot dense retrieval from 8 examples", 2022, section 3.2.
"""

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.siamese.drafts import Draft
from training.siamese.nearest import encode_all, nearest, pair_cosines
from training.siamese.progress import Show
from training.siamese.types import Corpus, EncodeTexts

SEARCHED_PASSAGES = 50_000  # of a larger corpus so many are drawn, beside those that have queries
SAME_QUERY = 0.97  # cosine from which two queries are one


def found_again(
    drafts: Sequence[Draft], corpus: Corpus, within: int, encode: EncodeTexts, show: Show, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which drafts are found again, (n,), and which nearly equal an earlier one, (n,).

    A draft counts as found when fewer than `within` other passages are nearer to its query than its positive,
    as that will be trained: without the query's own words where they were taken out.
    """
    searched = _searched(drafts, corpus, seed)
    rows = {passage: row for row, passage in enumerate(searched)}
    queries = encode_all([draft.query for draft in drafts], "query", encode, show)
    texts = list(dict.fromkeys([*(corpus[each] for each in searched), *(each.positive for each in drafts)]))
    places = {text: place for place, text in enumerate(texts)}
    vectors = encode_all(texts, "passage", encode, show)
    own = pair_cosines(queries, vectors[[places[draft.positive] for draft in drafts]])
    passages = vectors[[places[corpus[each]] for each in searched]]
    found, scores = nearest(queries, passages, within + 1, show)
    others = found != np.array([rows[draft.passage.id] for draft in drafts])[:, None]
    nearer = (others & (scores > own[:, None])).sum(axis=1)
    return nearer < within, _repeated(drafts, queries, show)


def _searched(drafts: Sequence[Draft], corpus: Corpus, seed: int) -> list[str]:
    """Ids of the passages that are searched."""
    if len(corpus) <= SEARCHED_PASSAGES:
        return list(corpus)
    drawn = random.Random(seed).sample(list(corpus), SEARCHED_PASSAGES)
    return list(dict.fromkeys([*(draft.passage.id for draft in drafts), *drawn]))


def _repeated(drafts: Sequence[Draft], queries: NDArray[np.float16], show: Show) -> NDArray[np.bool_]:
    """(n,) whether one of the eight nearest queries comes earlier and says the same."""
    rows, scores = nearest(queries, queries, 8, show)
    earlier = rows < np.arange(len(drafts))[:, None]
    repeated: NDArray[np.bool_] = np.any(earlier & (scores >= SAME_QUERY), axis=1)
    return repeated
