"""Hard negatives: passages that an encoder takes for answers and that, as far as anyone knows, are none.

Source of the positive-aware margin: Moreira et al., "NV-Retriever: Improving text embedding models with
effective hard-negative mining", 2024.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.siamese.nearest import encode_all, nearest, pair_cosines
from training.siamese.plan import Negatives
from training.siamese.progress import Show
from training.siamese.types import Corpus, EncodeTexts, Origin, Pair, document_of

MIN_HELD_CHARACTERS = 20  # of an answer that rules out the passages it stands in: "yes" stands in many


@dataclass(frozen=True, slots=True)
class MiningReport:
    """negatives: found in all. Passed over on the way to them: known, because the passage answers the query,
    equals or holds a text that does, or belongs to the document that a written query is about; close, because
    its cosine is within the margin of the positive's. short: pairs that got fewer than wanted.
    """

    pairs: int
    negatives: int
    known: int
    close: int
    short: int


def mine_negatives(
    pairs: Sequence[Pair],
    corpus: Corpus,
    encode: EncodeTexts,
    settings: Negatives,
    show: Show,
    tell: Callable[[MiningReport], None] = lambda _report: None,
) -> tuple[Pair, ...]:
    """The pairs with up to `settings.count` negatives each, hardest first, in the order given.

    Negatives that a pair came with stay, in front. For several rounds give each round the pairs as they were
    before the first, and the encoder as it is by then. corpus: without one the positives of all pairs are
    searched. tell: gets the report.
    """
    if not pairs or not settings.count:
        tell(MiningReport(len(pairs), 0, 0, 0, 0))
        return tuple(pairs)
    passages = corpus or {pair.positive: pair.positive for pair in pairs}
    miner = _Miner(pairs, passages, settings)
    rows, scores, positives = _search(pairs, list(passages.values()), encode, settings.depth, show)
    mined = tuple(
        miner.with_negatives(*each) for each in zip(pairs, rows, scores, positives.tolist(), strict=True)
    )
    tell(miner.report)
    return mined


def _search(
    pairs: Sequence[Pair], texts: Sequence[str], encode: EncodeTexts, depth: int, show: Show
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Rows and cosines of the nearest passages, (pairs, depth), and cosines of the positives, (pairs,)."""
    queries = {query: row for row, query in enumerate(dict.fromkeys(pair.query for pair in pairs))}
    query_vectors = encode_all(list(queries), "query", encode, show)
    asked = query_vectors[[queries[pair.query] for pair in pairs]]
    # Positives that are passages are encoded once; written ones may lack a sentence.
    places = {text: row for row, text in enumerate(dict.fromkeys([*texts, *(p.positive for p in pairs)]))}
    vectors = encode_all(list(places), "passage", encode, show)
    rows, scores = nearest(query_vectors, vectors[[places[text] for text in texts]], depth, show)
    own = [queries[pair.query] for pair in pairs]
    positives = pair_cosines(asked, vectors[[places[pair.positive] for pair in pairs]])
    return rows[own], scores[own], positives


class _Miner:
    def __init__(self, pairs: Sequence[Pair], passages: Corpus, settings: Negatives) -> None:
        self._settings = settings
        self._count = settings.count or 0
        self._texts = list(passages.values())
        self._keys = [_key(text) for text in self._texts]
        self._documents = [document_of(passage) for passage in passages]
        self._answers: dict[str, set[str]] = {}
        for pair in pairs:
            self._answers.setdefault(_key(pair.query), set()).add(_key(pair.positive))
        self._counts = dict.fromkeys(("negatives", "known", "close", "short"), 0)
        self._pairs = len(pairs)

    @property
    def report(self) -> MiningReport:
        return MiningReport(self._pairs, **self._counts)

    def with_negatives(
        self, pair: Pair, rows: NDArray[np.int64], scores: NDArray[np.float32], positive: float
    ) -> Pair:
        """rows, scores: of the nearest passages, best first. positive: cosine of the pair's own passage."""
        ceiling = positive - self._settings.relative_margin * abs(positive)
        found = list(pair.negatives)
        taken = {_key(text) for text in found}
        for row, score in zip(rows.tolist(), scores.tolist(), strict=True):
            if len(found) >= self._count:
                break
            if not self._passed_over(pair, row, score > ceiling) and self._keys[row] not in taken:
                taken.add(self._keys[row])
                found.append(self._texts[row])
        self._counts["negatives"] += len(found) - len(pair.negatives)
        self._counts["short"] += len(found) < self._count
        return replace(pair, negatives=tuple(found))

    def _passed_over(self, pair: Pair, row: int, close: bool) -> bool:
        known = self._answers_query(pair, row)
        self._counts["known"] += known
        self._counts["close"] += close and not known
        return known or close

    def _answers_query(self, pair: Pair, row: int) -> bool:
        if pair.origin == Origin.SYNTHETIC and self._documents[row] == pair.group:
            return True
        found, answers = self._keys[row], self._answers[_key(pair.query)]
        return found in answers or any(_holds(found, answer) or _holds(answer, found) for answer in answers)


def _holds(text: str, part: str) -> bool:
    return len(part) >= MIN_HELD_CHARACTERS and part in text


def _key(text: str) -> str:
    """Texts that differ in case or spaces only are one."""
    return " ".join(text.split()).casefold()
