"""The route that Prometheus reads."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from litestar import Controller, Request, Response, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from app.http.problems import problem_responses
from app.overload import Load
from app.resources import Resources
from app.services.types import Scope
from app.telemetry.families import live_metrics, stored_metrics


class _Families:
    """What an encoder of Prometheus reads, made of families that are there already."""

    def __init__(self, families: Iterator[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return self._families


class MetricsController(Controller):
    """Figures for those who watch."""

    tags = ("Watching",)

    @get(
        "/metrics",
        opt={"scope": Scope.READ, "load": Load.UNBOUNDED},
        summary="Metrics",
        responses={
            200: ResponseSpec(str, generate_examples=False, description="Metrics", media_type="text/plain"),
            **problem_responses(),
        },
    )
    async def metrics(
        self, request: Request[Any, Any, Any], state: State, resources: NamedDependency[Resources]
    ) -> Response[bytes]:
        """Every figure of the service in the text format of Prometheus, or in that of OpenMetrics when asked
        for. Open on loopback; elsewhere a key with the scope read and without a limit to collections.
        """
        live = await state.live.read(resources)
        jobs, storage = await resources.stats.jobs(), await resources.stats.storage()
        families = chain(state.metrics.collect(), live_metrics(live), stored_metrics(jobs, storage))
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(_Families(families)), media_type=media_type)
