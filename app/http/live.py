"""Figures of the process that serves, read from its parts at the moment somebody asks."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from app.http.deadlines import Deadlines
from app.http.limits import RateLimits
from app.http.limits_connections import SlowConnections
from app.index_lag import index_lags
from app.overload import Admission
from app.resources import Resources
from app.telemetry.figures import (
    GateFigures,
    IndexFigures,
    LaneFigures,
    LimitFigures,
    LiveFigures,
    ProcessFigures,
)
from app.telemetry.process import resident_bytes


@dataclass(frozen=True, slots=True)
class LimitReader:
    """What turns requests of one application away."""

    admission: Admission
    rate_limits: RateLimits
    deadlines: Deadlines
    slow_connections: SlowConnections

    def read(self) -> LimitFigures:
        """What was let in and turned away so far."""
        gates = (
            GateFigures(load, gate.in_flight, gate.most, gate.refused)
            for load, gate in self.admission.gates.items()
        )
        return LimitFigures(
            gates=tuple(gates),
            bodies_refused=self.admission.bodies.refused,
            rate_limited=self.rate_limits.refused,
            deadlines_exceeded=self.deadlines.exceeded,
            slow_connections=self.slow_connections.closed,
            loop_lag_s=round(self.admission.lag.worst_s, 4),
        )


class LiveReader:
    """Reads the figures of one application. version: of Footnote."""

    def __init__(self, version: str, limits: LimitReader) -> None:
        self._version = version
        self._limits = limits
        self._began = time.monotonic()

    async def read(self, resources: Resources) -> LiveFigures:
        """What the process is doing now."""
        engine = resources.models.engine
        return LiveFigures(
            process=self._process(),
            lanes=tuple(_lanes(resources)),
            decoder=None if engine is None else engine.statistics(),
            answers_in_flight=resources.answers.in_flight,
            reranks_in_flight=resources.reranking.in_flight,
            indexes=await _indexes(resources),
            limits=self._limits.read(),
            query_log_dropped=resources.query_log.dropped,
        )

    def _process(self) -> ProcessFigures:
        return ProcessFigures(
            self._version, os.getpid(), round(time.monotonic() - self._began, 1), resident_bytes()
        )


def _lanes(resources: Resources) -> Iterator[LaneFigures]:
    for opened in resources.encoders.opened:
        for lane, done in opened.encoding.engine.statistics().items():
            yield LaneFigures(opened.encoder.model_id, lane.value, done)


async def _indexes(resources: Resources) -> tuple[IndexFigures, ...]:
    """Those of the releases in service that were searched since the start."""
    lags = await index_lags(resources.database, resources.indexes)
    return tuple(
        IndexFigures(lag.collection.name, lag.index, lag.writes, round(lag.seconds, 3)) for lag in lags
    )
