"""BM25 in SQL, and which of a query's words have to be looked for.

Scoring takes about 1 us a chunk and word, so a query of common words is answered in two steps: a shortlist by
its rarest words, which is then scored by all. Of 160 questions to 16,000 abstracts (scifact, cranfield, cacm
and cosqa; 43 ms of processor time each by all words) a shortlist by 80 % of the words' weight held 99.6 % of
the ten best chunks (17 ms), one by 70 % 98.2 % (11 ms), and one by 90 % all of them (23 ms).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.bm25 import K1, QueryTerm, inverse_frequency, telling_terms
from retrieval.engines.postgres.metadata import Sql

MAX_SCORED = 2_000  # chunks that hold a word of the query: so many are scored by all words at once
MAX_LISTED = 20_000  # chunks that the rarest words may find; of a larger index fewer words are enough
MAX_EXACT = 50_000  # so many are scored by all words where words alone are searched for
CANDIDATES_SHARE = 0.8  # of the query's weight
SHORTLIST = 4  # times as long as what is asked for
_OCCURRENCES = (
    "round(1 / (1.6449340668482264 * (1 - ts_rank('{{1,1,1,1}}', words, %s::tsquery)::float8)) - .5)"
)


@dataclass(frozen=True, slots=True)
class Among:
    """Where to look. condition: on document_key; chunks: how many it lets through. None: everywhere."""

    condition: Sql | None = None
    chunks: int | None = None

    def holding(self, query: Sequence[QueryTerm]) -> Sql:
        """The condition on rows that hold one of these words and may be found."""
        lexemes = " | ".join(quoted(term.text) for term in query)
        if self.condition is None:
            return Sql("words @@ %s::tsquery", (lexemes,))
        text = f"words @@ %s::tsquery AND {self.condition.text}"
        return Sql(text, (lexemes, *self.condition.values))


@dataclass(frozen=True, slots=True)
class Bm25:
    """What of an index's state a score depends on."""

    chunks: int
    average_terms: float

    def weight(self, term: QueryTerm) -> float:
        """What a term adds to a score at the most."""
        return term.count * inverse_frequency(term, self.chunks) * (1 + K1)

    def sql(self, query: Sequence[QueryTerm]) -> Sql:
        """The score of a row of words that has its `norm` beside it."""
        parts, values = [], list[Any]()
        for term in query:
            parts.append(f"%s::float8 * (1 - norm / ({_OCCURRENCES} + norm))")
            values += [self.weight(term), quoted(term.text)]
        return Sql(" + ".join(parts), tuple(values))


def chunks_holding(query: Sequence[QueryTerm], bm25: Bm25, among: Among) -> int:
    """At most so many chunks that may be found hold a word."""
    chunks = bm25.chunks if among.chunks is None else among.chunks
    return min(chunks, sum(term.frequency for term in query))


def telling_of(query: Sequence[QueryTerm], bm25: Bm25, among: Among, share: float) -> Sequence[QueryTerm]:
    """The rarest terms, which find the chunks that are scored; all of them where that is little work."""
    if chunks_holding(query, bm25, among) <= MAX_SCORED:
        return query
    telling = telling_terms(query, bm25.chunks, share)
    found = np.cumsum([term.frequency for term in telling])
    return telling[: max(1, int(np.searchsorted(found, MAX_LISTED, "right")))]


def quoted(term: str) -> str:
    """A term as a lexeme of a tsvector or tsquery."""
    escaped = term.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
