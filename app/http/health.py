"""Health routes, for process supervisors and load balancers."""

from typing import Literal

from litestar import Controller, get
from litestar.datastructures import State
from msgspec import Struct

from app.http.access import PUBLIC
from app.http.problems import problem_responses


class Liveness(Struct, frozen=True):
    """The process runs."""

    status: Literal["live"]


class Readiness(Struct, frozen=True):
    """The service can answer."""

    status: Literal["ready"]


class HealthController(Controller):
    """Does it run, and can it serve?"""

    path = "/health"
    tags = ("Health",)
    opt = {"scope": PUBLIC}  # noqa: RUF012

    @get("/live", summary="Does the process run?")
    async def live(self) -> Liveness:
        """200 as soon as the process listens."""
        return Liveness("live")

    @get("/ready", summary="Can it serve?", responses=problem_responses())
    async def ready(self, state: State) -> Readiness:
        """200 once database and models are open; 503 before, and when the service is about to stop."""
        state.opening.check_ready()
        return Readiness("ready")
