"""What the figures of a service look like on the wire."""

from typing import Annotated, Self

import msgspec
from msgspec import Meta, Struct

from app.telemetry.figures import LiveFigures, StoredFigures
from generation.causal.engine import EngineStatistics

Name = Annotated[str, Meta(description="Name of the collection", examples=["notes"])]


class CollectionStats(Struct, frozen=True):
    """A collection."""

    name: Name
    documents: Annotated[int, Meta(description="Documents that stand")]
    chunks: Annotated[int, Meta(description="Chunks of the release in service")]
    last_seq: Annotated[int, Meta(description="Number of the latest write")]
    release: Annotated[int, Meta(description="Number of the release in service", examples=[1])]


class JobStats(Struct, frozen=True):
    """The jobs."""

    states: Annotated[dict[str, int], Meta(description="How many jobs are in which state")]
    oldest_queued_s: Annotated[float, Meta(description="Seconds that the first job has waited")]


class StorageStats(Struct, frozen=True):
    """Sizes, in bytes."""

    database_bytes: Annotated[int, Meta(description="The database with its log")]
    indexes_bytes: Annotated[int, Meta(description="All builds")]
    free_bytes: Annotated[int, Meta(description="Free on the disk of the data folder")]


class ProcessStats(Struct, frozen=True):
    """The process that serves."""

    version: Annotated[str, Meta(description="Of Footnote")]
    pid: Annotated[int, Meta(description="Its number")]
    uptime_s: Annotated[float, Meta(description="Seconds since its start")]
    resident_bytes: Annotated[int | None, Meta(description="Memory in use; null where the system is silent")]


class LaneStats(Struct, frozen=True):
    """A lane of an encoder's queue. Counts are since the start."""

    model: Annotated[str, Meta(description="Id of the encoder")]
    lane: Annotated[str, Meta(description="query or bulk", examples=["query"])]
    waiting_texts: Annotated[int, Meta(description="Texts that wait")]
    texts: Annotated[int, Meta(description="Texts that were encoded")]
    tokens: Annotated[int, Meta(description="Their tokens")]
    padded_tokens: Annotated[int, Meta(description="Their tokens with padding")]
    batches: Annotated[int, Meta(description="Runs of the encoder")]


class DecoderStats(Struct, frozen=True):
    """The engine of a causal decoder. Counts are since the start."""

    active: Annotated[int, Meta(description="Requests that have slots")]
    queued: Annotated[int, Meta(description="Requests that wait for slots")]
    free_slots: Annotated[int, Meta(description="Slots that nobody has")]
    prefill_passes: Annotated[int, Meta(description="Passes that read prompts")]
    passes: Annotated[int, Meta(description="Passes that decoded")]
    tokens: Annotated[int, Meta(description="Tokens that were decoded")]
    prompt_tokens: Annotated[int, Meta(description="Tokens of prompts")]
    cached_prompt_tokens: Annotated[int, Meta(description="Those of them that were cached")]


class IndexStats(Struct, frozen=True):
    """The index of a collection's release in service."""

    collection: Name
    chunks: Annotated[int, Meta(description="Chunks that can be found")]
    recent_rows: Annotated[int, Meta(description="Rows newer than the build, searched one by one")]
    dead_share: Annotated[float, Meta(description="Share of the build's rows that are dead, 0 to 1")]
    lag_writes: Annotated[int, Meta(description="Writes that the next search takes in first")]
    lag_s: Annotated[float, Meta(description="Seconds since the first of them; 0 when there is none")] = 0.0


class LoadStats(Struct, frozen=True):
    """Requests of one kind."""

    load: Annotated[str, Meta(description="Which kind", examples=["search"])]
    in_flight: Annotated[int, Meta(description="Being answered")]
    most: Annotated[int, Meta(description="Let in at once")]
    refused: Annotated[int, Meta(description="Turned away since the start")]


class ServiceStats(Struct, frozen=True):
    """A running service."""

    process: ProcessStats
    loads: list[LoadStats]
    bodies_refused: Annotated[int, Meta(description="Requests for whose bodies there was no memory")]
    rate_limited: Annotated[int, Meta(description="Requests above a rate limit since the start")]
    deadlines_exceeded: Annotated[int, Meta(description="Requests that ran out of time since the start")]
    slow_connections: Annotated[int, Meta(description="Slow connections that were closed since the start")]
    event_loop_lag_s: Annotated[float, Meta(description="How late the event loop came in the last second")]
    encoder: Annotated[list[LaneStats], Meta(description="The lanes of the encoders' queues")]
    decoder: Annotated[DecoderStats | None, Meta(description="null unless a causal decoder runs here")]
    answers_in_flight: Annotated[int, Meta(description="Questions being answered or waiting")]
    reranks_in_flight: Annotated[int, Meta(description="Requests for the reranker, waiting ones too")]
    indexes: list[IndexStats]
    query_log_dropped: Annotated[int, Meta(description="Questions that the query log had no room for")]

    @classmethod
    def of(cls, live: LiveFigures) -> Self:
        """As it is told."""
        limits = live.limits
        return cls(
            process=msgspec.convert(live.process, ProcessStats, from_attributes=True),
            loads=msgspec.convert(limits.gates, list[LoadStats], from_attributes=True),
            bodies_refused=limits.bodies_refused,
            rate_limited=limits.rate_limited,
            deadlines_exceeded=limits.deadlines_exceeded,
            slow_connections=limits.slow_connections,
            event_loop_lag_s=limits.loop_lag_s,
            encoder=[
                LaneStats(
                    lane.model,
                    lane.lane,
                    lane.done.waiting_texts,
                    lane.done.texts,
                    lane.done.tokens,
                    lane.done.padded_tokens,
                    lane.done.batches,
                )
                for lane in live.lanes
            ],
            decoder=None if live.decoder is None else _decoder(live.decoder),
            answers_in_flight=live.answers_in_flight,
            reranks_in_flight=live.reranks_in_flight,
            indexes=[
                IndexStats(
                    each.collection,
                    each.index.chunks,
                    each.index.recent_rows,
                    round(each.index.dead_share, 4),
                    each.lag_writes,
                    each.lag_s,
                )
                for each in live.indexes
            ],
            query_log_dropped=live.query_log_dropped,
        )


class StatsReply(Struct, frozen=True):
    """What a data folder holds, and what the service that has it open is doing."""

    database_id: Annotated[str, Meta(description="Which data folder this is")]
    collections: list[CollectionStats]
    jobs: JobStats
    storage: StorageStats
    logged_queries: Annotated[int, Meta(description="Questions in the query log")]
    service: Annotated[ServiceStats | None, Meta(description="null where no service was asked")] = None

    @classmethod
    def of(cls, stored: StoredFigures, live: LiveFigures | None = None) -> Self:
        """As it is told."""
        return cls(
            stored.database_id,
            msgspec.convert(stored.collections, list[CollectionStats], from_attributes=True),
            msgspec.convert(stored.jobs, JobStats, from_attributes=True),
            msgspec.convert(stored.storage, StorageStats, from_attributes=True),
            stored.query_log,
            None if live is None else ServiceStats.of(live),
        )


def _decoder(engine: EngineStatistics) -> DecoderStats:
    return DecoderStats(
        active=engine.active,
        queued=engine.queued,
        free_slots=engine.free_slots,
        prefill_passes=engine.prefill_passes,
        passes=engine.decoding.passes,
        tokens=engine.decoding.tokens,
        prompt_tokens=engine.prefixes.asked,
        cached_prompt_tokens=engine.prefixes.found,
    )
