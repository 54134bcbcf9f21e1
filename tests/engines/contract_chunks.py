"""Chunks, metadata and filters for the contract suite, and the oracle: what brute force finds."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.analysis import terms
from retrieval.bm25 import K1, B, QueryTerm, counted_length, inverse_frequency
from retrieval.filters import Filter, matches
from retrieval.types import IndexedChunk

DIMENSION = 8
WORDS = ["apple", "pear", "Ежи", "бегают", "特斯拉于1943年去世", "it's", "get_user(x)", "O'Neil \\ 'n"]

texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.5, 1.0, -2.5, 2**53, 2**53 + 1, float(2**53), 10**23, 1e23]),
    st.sampled_from(["", "a", "b", "ab", "1", "ж", "€", "\U0001f994", "O'Neil", "%s {words} \\"]),
)
elements = st.one_of(scalars, st.lists(scalars, max_size=2), st.fixed_dictionaries({"x": scalars}))
values = st.one_of(
    scalars,
    st.lists(elements, max_size=3),
    st.fixed_dictionaries(
        {}, optional={"x": st.one_of(scalars, st.lists(scalars, max_size=2)), "x.y": scalars}
    ),
)
metadata = st.fixed_dictionaries({}, optional={"f": values, "g": values, "f.x": scalars, "O'Neil": scalars})
fields = st.sampled_from(["f", "g", "f.x", "g.x", "g.x.y", "O'Neil"])
operators = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), scalars),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(scalars, max_size=3)),
    st.tuples(
        st.sampled_from(["$gt", "$gte", "$lt", "$lte"]),
        scalars.filter(lambda value: value is not None and not isinstance(value, bool)),
    ),
    st.tuples(st.just("$exists"), st.booleans()),
).map(lambda pair: {pair[0]: pair[1]})
conditions = st.tuples(fields, operators).map(lambda pair: {pair[0]: pair[1]})
filters: st.SearchStrategy[dict[str, Any]] = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3)).map(
            lambda pair: {pair[0]: pair[1]}
        ),
        inner.map(lambda part: {"$not": part}),
    ),
    max_leaves=4,
)


def unit(seed: int, dimension: int = DIMENSION) -> NDArray[np.float32]:
    """A random vector of length 1."""
    vector = np.random.default_rng(seed).standard_normal(dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def chunk(chunk_id: int, document_key: int, text: str, held: Mapping[str, Any]) -> IndexedChunk:
    """A chunk whose vector its id tells."""
    return IndexedChunk(chunk_id, document_key, text, unit(chunk_id).astype(np.float16), held)


@dataclass
class Oracle:
    """What an index has to hold, and what it has to find."""

    chunks: dict[int, IndexedChunk]

    def apply(self, additions: Iterable[IndexedChunk], deleted: Iterable[int]) -> None:
        """What `SearchIndex.apply` does."""
        gone = set(deleted)
        kept = {i: held for i, held in self.chunks.items() if held.document_key not in gone}
        self.chunks = kept | {each.chunk_id: each for each in additions}

    def passing(self, filter_: Filter | None) -> dict[int, IndexedChunk]:
        """The chunks that a filter lets through."""
        if filter_ is None:
            return self.chunks
        return {i: held for i, held in self.chunks.items() if matches(filter_, held.metadata)}

    def dense(self, query: NDArray[np.float32], filter_: Filter | None) -> dict[int, float]:
        """The inner product of every chunk that may be found."""
        return {i: float(held.vector.astype(np.float32) @ query) for i, held in self.passing(filter_).items()}

    def bm25(self, query: str, filter_: Filter | None) -> dict[int, float]:
        """The BM25 score of every chunk that may be found and holds a word of the query."""
        counts = {i: Counter(terms(held.text)) for i, held in self.chunks.items()}
        average = sum(sum(each.values()) for each in counts.values()) / max(1, len(counts))
        found: dict[int, float] = {}
        for i in self.passing(filter_):
            norm = K1 * (1 - B + B * counted_length(sum(counts[i].values())) / average)
            for text, times in Counter(terms(query)).items():
                if occurrences := counts[i][text]:
                    term = QueryTerm(text, times, sum(1 for each in counts.values() if each[text]))
                    weight = times * inverse_frequency(term, len(counts)) * (1 + K1)
                    found[i] = found.get(i, 0.0) + weight * occurrences / (occurrences + norm)
        return found
