"""How far an index is: a row that changes in the transaction of the change itself.

The moments of all vectors are sums of (dimension, dimension) numbers, a megabyte and more. So a change only
notes the vectors that came and went, and they are summed up once they have grown to as many bytes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.background import VectorMoments
from retrieval.engines.postgres.pool import Connection
from retrieval.engines.postgres.schema import LOCK_TIMEOUT
from retrieval.engines.types import IndexMoved

_COLUMNS = "version, seq, chunks, code_chunks, terms, moved_rows, moments_version"


@dataclass(frozen=True, slots=True)
class EngineState:
    """version: counts the changes. seq: up to which changes can be found. terms: of all chunks, repeats
    counted. moved_rows: vectors noted since the moments were summed up at moments_version.
    """

    version: int
    seq: int
    chunks: int
    code_chunks: int
    terms: int
    moved_rows: int
    moments_version: int
    moments: VectorMoments

    @staticmethod
    def empty(dimension: int) -> "EngineState":
        return EngineState(0, 0, 0, 0, 0, 0, 0, VectorMoments.empty(dimension))

    @property
    def code_share(self) -> float:
        """The share of chunks that are source code, 0 to 1."""
        return self.code_chunks / max(1, self.chunks)

    @property
    def average_terms(self) -> float:
        """Terms of a chunk; 1 where there is none."""
        return self.terms / self.chunks if self.terms else 1.0


@dataclass(frozen=True, slots=True)
class WordSums:
    """What chunks add to an index, or took from it. terms: repeats counted."""

    chunks: int
    code_chunks: int
    terms: int


@dataclass(frozen=True, slots=True)
class Move:
    """What a change does to an index: the vectors (rows, dimension) and the sums that came and went."""

    added: NDArray[np.float32]
    removed: NDArray[np.float32]
    more: WordSums
    fewer: WordSums

    def applied(self, before: EngineState, seq: int) -> EngineState:
        """The state after it."""
        chunks = before.chunks + self.more.chunks - self.fewer.chunks
        moments = before.moments.removed(self.removed).added(self.added)
        return replace(
            before,
            version=before.version + 1,
            seq=seq,
            chunks=chunks,
            code_chunks=before.code_chunks + self.more.code_chunks - self.fewer.code_chunks,
            terms=before.terms + self.more.terms - self.fewer.terms,
            moved_rows=before.moved_rows + len(self.added) + len(self.removed),
            moments=replace(moments, count=chunks),
        )


def read_state(connection: Connection, index_id: int, known: EngineState) -> EngineState:
    """The state as this connection sees it. known: read before, so that only what is newer is read.

    Raises IndexMoved when the index was dropped.
    """
    row = _row(connection, index_id, "")
    return known if row[0] <= known.version else _with_moments(connection, index_id, row, known)


def lock_state(connection: Connection, index_id: int, known: EngineState) -> None:
    """Become the one writer until the transaction ends. Raises IndexMoved when `known` is not the state."""
    connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    row = _row(connection, index_id, " FOR UPDATE")
    if row[0] != known.version:
        raise IndexMoved(
            "another process wrote into the index first",
            found=f"changes up to {row[1]}",
            expected=f"changes up to {known.seq}",
            next_step="send the request again",
            retry_after_s=1,
        )


def note_pending(connection: Connection, index_id: int, document_keys: Collection[int]) -> Sequence[int]:
    """Note documents that are about to be written elsewhere, until the next `write_state`; those before."""
    row: Any = connection.execute(
        "SELECT pending FROM footnote_index.states WHERE index_id = %s", (index_id,)
    ).fetchone()
    noted = sorted({*row[0], *document_keys})
    connection.execute(
        "UPDATE footnote_index.states SET pending = %s::bigint[] WHERE index_id = %s", (noted, index_id)
    )
    return list(row[0])


def write_state(connection: Connection, index_id: int, after: EngineState, move: Move) -> EngineState:
    """Note a change, whose state this is; returns it as it was written."""
    dimension = len(after.moments.total)
    if after.moved_rows >= 4 * dimension:  # as many bytes of noted vectors as the sums have
        return _summed_up(connection, index_id, after)
    connection.execute(
        "INSERT INTO footnote_index.moves VALUES (%s, %s, %b, %b)",
        (index_id, after.version, _packed(move.added), _packed(move.removed)),
    )
    _update(connection, index_id, after)
    return after


def _summed_up(connection: Connection, index_id: int, after: EngineState) -> EngineState:
    summed = replace(after, moved_rows=0, moments_version=after.version)
    moments = summed.moments
    connection.execute("DELETE FROM footnote_index.moves WHERE index_id = %s", (index_id,))
    _update(connection, index_id, summed)
    connection.execute(
        "UPDATE footnote_index.states SET moments = %b WHERE index_id = %s",
        (moments.total.tobytes() + moments.outer.tobytes(), index_id),
    )
    return summed


def _update(connection: Connection, index_id: int, state: EngineState) -> None:
    connection.execute(
        "UPDATE footnote_index.states SET version = %s, seq = %s, chunks = %s, code_chunks = %s, terms = %s,"
        " moved_rows = %s, moments_version = %s, pending = '{}' WHERE index_id = %s",
        (
            state.version,
            state.seq,
            state.chunks,
            state.code_chunks,
            state.terms,
            state.moved_rows,
            state.moments_version,
            index_id,
        ),
    )


def _row(connection: Connection, index_id: int, lock: str) -> Sequence[Any]:
    statement = f"SELECT {_COLUMNS} FROM footnote_index.states WHERE index_id = %s{lock}"  # noqa: S608
    row: Any = connection.execute(statement, (index_id,)).fetchone()
    if row is None:
        raise IndexMoved("the index was dropped by another process", next_step="send the request again")
    return row  # type: ignore[no-any-return]


def _with_moments(
    connection: Connection, index_id: int, row: Sequence[Any], known: EngineState
) -> EngineState:
    dimension, summed_at = len(known.moments.total), row[-1]
    moments, since = known.moments, known.version
    if since < summed_at:
        moments, since = _summed(connection, index_id, dimension), summed_at
    for added, removed in _moves(connection, index_id, since):
        moments = moments.removed(_unpacked(removed, dimension)).added(_unpacked(added, dimension))
    version, seq, chunks, code_chunks, terms, moved_rows, _ = row
    counted = replace(moments, count=chunks)
    return EngineState(version, seq, chunks, code_chunks, terms, moved_rows, summed_at, counted)


def _summed(connection: Connection, index_id: int, dimension: int) -> VectorMoments:
    statement = "SELECT moments FROM footnote_index.states WHERE index_id = %s"
    row: Any = connection.cursor(binary=True).execute(statement, (index_id,)).fetchone()
    if row is None or row[0] is None:
        return VectorMoments.empty(dimension)
    numbers = np.frombuffer(row[0], np.float64)
    outer = numbers[dimension:].reshape(dimension, dimension)
    return VectorMoments(0, numbers[:dimension], outer)


def _moves(connection: Connection, index_id: int, since: int) -> list[tuple[bytes, bytes]]:
    cursor: Any = connection.cursor(binary=True)
    cursor.execute(
        "SELECT added, removed FROM footnote_index.moves WHERE index_id = %s AND version > %s"
        " ORDER BY version",
        (index_id, since),
    )
    return list(cursor.fetchall())


def _packed(vectors: NDArray[np.float32]) -> bytes:
    return vectors.astype("<f2").tobytes()


def _unpacked(data: bytes, dimension: int) -> NDArray[np.float32]:
    return np.frombuffer(data, "<f2").reshape(-1, dimension).astype(np.float32)
