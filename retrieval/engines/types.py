"""The nouns of the index engines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import Overloaded
from retrieval.filters import Filter


@dataclass(frozen=True, slots=True)
class IndexKey:
    """What an index is of. database_id: a collection's key means something in its own database only."""

    collection_id: int
    chunking: str
    model_id: str
    database_id: str


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk as a vector store takes it in.

    vector: (dimension,) unit float32 that holds float16 values. metadata: the document's, for filters.
    is_code: whether the chunk is source code.
    """

    chunk_id: int
    document_key: int
    vector: NDArray[np.float32]
    metadata: Mapping[str, Any]
    is_code: bool


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a filter lets through, found once for a search and used by both sides.

    chunks: how many pass. document_keys: whose, ascending, when they are few enough to be listed; a store
    that gets them needs no filter of its own. None: it has to apply `filter`, to the letter of
    retrieval.filters.
    """

    filter: Filter
    chunks: int
    document_keys: tuple[int, ...] | None


class IndexMoved(Overloaded):
    """Another process changed the index, or dropped it, since this one read its state.

    After `refresh` the changes have to be read anew, from the sequence number that the index then has.
    """
