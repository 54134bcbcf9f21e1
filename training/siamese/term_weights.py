"""Which words of a collection tell its passages apart."""

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from itertools import islice
from math import log

from retrieval.analysis import terms

COUNTED_PASSAGES = 20_000
# A word of more passages is common: "the" everywhere, "cells" in a collection about them. No list of stop
# words is as complete in every language.
COMMON_SHARE = 0.2
MIN_COMMON = 4  # passages, so that a handful of them has words at all


class TermWeights:
    """Inverse document frequencies. texts: of the passages, the first COUNTED_PASSAGES count."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._frequencies: Counter[str] = Counter()
        self._passages = 0
        for text in islice(texts, COUNTED_PASSAGES):
            self._frequencies.update(set(terms(text)))
            self._passages += 1

    @cached_property
    def _common(self) -> frozenset[str]:
        least = max(COMMON_SHARE * self._passages, MIN_COMMON)
        return frozenset(term for term, count in self._frequencies.items() if count > least)

    def content(self, text: str) -> list[str]:
        """The terms of a text that are not common, in order, each once."""
        return [term for term in dict.fromkeys(terms(text)) if term not in self._common]

    def weight(self, term: str) -> float:
        """log(1 + passages / passages with the term)."""
        return log(1 + self._passages / max(self._frequencies[term], 1))
