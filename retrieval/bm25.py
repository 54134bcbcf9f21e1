"""BM25's terms and weights, the same for every engine that counts words.

Source of the ranking function: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and
Beyond", 2009, with tantivy's k1 = 1.2 and b = 0.75.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log1p

import numpy as np

K1 = 1.2
B = 0.75
MAX_QUERY_TERMS = 256  # distinct terms of one query; the rarest are kept of a longer one
# Of many chunks candidates are found by the rarest words that carry this share of a query's weight.
TELLING_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A distinct query term that stands in `frequency` chunks. count: its occurrences in the query."""

    text: str
    count: int
    frequency: int


def query_terms(counts: Mapping[str, int], frequencies: Mapping[str, int]) -> list[QueryTerm]:
    """The terms that stand in any chunk, rarest first, at most MAX_QUERY_TERMS.

    counts: of the query's distinct terms; frequencies: chunks that hold each, 0 or nothing where none does.
    """
    known = (QueryTerm(text, count, frequencies.get(text, 0)) for text, count in counts.items())
    return sorted((term for term in known if term.frequency > 0), key=_by_rarity)[:MAX_QUERY_TERMS]


def counted(terms: Iterable[str]) -> Mapping[str, int]:
    """How often each distinct term occurs."""
    return Counter(terms)


def telling_terms(
    query: Sequence[QueryTerm], chunks: int, share: float = TELLING_SHARE
) -> Sequence[QueryTerm]:
    """The rarest terms, as far as they are needed for a share of the sum of all terms' weights."""
    weights = np.cumsum([term.count * inverse_frequency(term, chunks) for term in query])
    return query[: int(np.searchsorted(weights, share * weights[-1])) + 1] if query else query


def inverse_frequency(term: QueryTerm, chunks: int) -> float:
    """BM25's idf, as tantivy computes it."""
    return log1p((max(0, chunks - term.frequency) + 0.5) / (term.frequency + 0.5))


def counted_length(terms: int) -> int:
    """The length of a chunk as tantivy counts it, in terms: above 40 it keeps the four leading bits of what
    is above 24, so that a length takes a byte.
    """
    rest = terms - 24
    dropped = max(0, rest.bit_length() - 4) if rest > 0 else 0
    return terms if not dropped else 24 + (rest >> dropped << dropped)


def _by_rarity(term: QueryTerm) -> tuple[int, str]:
    return term.frequency, term.text
