"""The route that tells an operator how the service is."""

from litestar import Controller, get
from litestar.datastructures import State
from litestar.di import NamedDependency

from app.http.problems import problem_responses
from app.http.stats_schemas import StatsReply
from app.resources import Resources
from app.services.types import Scope


class StatsController(Controller):
    """Figures for people and for `footnote stats`."""

    path = "/admin"
    tags = ("Watching",)

    @get("/stats", scope=Scope.READ, summary="Figures of the service", responses=problem_responses())
    async def service_stats(self, state: State, resources: NamedDependency[Resources]) -> StatsReply:
        """Collections, jobs, sizes, queues, batches and indexes, as they are now.

        Open on loopback; elsewhere a key with the scope read and without a limit to collections.
        """
        return StatsReply.of(await resources.stats.stored(), await state.live.read(resources))
