"""What there is to know of a service: what its data folder holds, and what its process is doing.

Sizes are in bytes, times in seconds; counts of what was done are since the start of the process.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from embeddings.lane import LaneStatistics
from generation.causal.engine import EngineStatistics
from retrieval.index import IndexStatistics


@dataclass(frozen=True, slots=True)
class CollectionFigures:
    """last_seq: number of the latest write; release: number of the one in service."""

    name: str
    documents: int
    chunks: int
    last_seq: int
    release: int


@dataclass(frozen=True, slots=True)
class JobFigures:
    """states: how many jobs are in which. oldest_queued_s: how long the one that waits longest has waited."""

    states: Mapping[str, int]
    oldest_queued_s: float


@dataclass(frozen=True, slots=True)
class StorageFigures:
    """database: with its log; indexes: all builds; free: of the disk that holds them."""

    database_bytes: int
    indexes_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class StoredFigures:
    """Of a data folder. query_log: questions that are kept."""

    database_id: str
    collections: tuple[CollectionFigures, ...]
    jobs: JobFigures
    storage: StorageFigures
    query_log: int


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """A lane of an encoder's queue."""

    model: str
    lane: str
    done: LaneStatistics


@dataclass(frozen=True, slots=True)
class IndexFigures:
    """The index of the release in service. lag_writes: that the next search takes in first; lag_s: since the
    first of them.
    """

    collection: str
    index: IndexStatistics
    lag_writes: int
    lag_s: float


@dataclass(frozen=True, slots=True)
class GateFigures:
    """Requests of one kind that are let in. refused: because it was full."""

    load: str
    in_flight: int
    most: int
    refused: int


@dataclass(frozen=True, slots=True)
class LimitFigures:
    """What the service took on and turned away.

    bodies_refused: requests for whose bodies there was no memory; slow_connections: that were closed;
    loop_lag_s: how late the event loop came in the last second.
    """

    gates: tuple[GateFigures, ...]
    bodies_refused: int
    rate_limited: int
    deadlines_exceeded: int
    slow_connections: int
    loop_lag_s: float


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """Of this process. resident_bytes: of memory; None where the system does not tell."""

    version: str
    pid: int
    uptime_s: float
    resident_bytes: int | None


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """Of a running service. decoder: of one that decodes here by the causal engine; else None.

    answers_in_flight, reranks_in_flight: that are worked on or wait. query_log_dropped: questions that found
    no room.
    """

    process: ProcessFigures
    lanes: tuple[LaneFigures, ...]
    decoder: EngineStatistics | None
    answers_in_flight: int
    reranks_in_flight: int
    indexes: tuple[IndexFigures, ...]
    limits: LimitFigures
    query_log_dropped: int
