"""Load shedding: a request that finds its class full is turned away before its body is read."""

from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Send
from litestar.types import Scope as ASGIScope

from app.http.access import PUBLIC
from app.http.limits_bodies import IncomingBody, Place
from app.overload import Admission, Load
from app.services.types import Scope

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def load_of(handler: BaseRouteHandler, method: str) -> Load:
    """What a call of a route costs.

    A route may state it as `load=`. One that does not is free when it is public, a read when it is a GET, a
    search when it needs no more than the scope read, and else a write.
    """
    stated, scope = handler.opt.get("load"), handler.opt.get("scope")
    if stated is not None:
        return Load(stated)
    if scope == PUBLIC:
        return Load.UNBOUNDED
    if method in _SAFE_METHODS:
        return Load.READ
    return Load.SEARCH if scope == Scope.READ else Load.WRITE


class InFlight(ASGIMiddleware):
    """Lets requests in until the last byte of their answer is out.

    A request counts from when its body has come: one that dribbles in takes nobody's place.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def handle(self, scope: ASGIScope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """Pass the request on, or raise Overloaded."""
        load = load_of(scope["route_handler"], scope["method"])  # type: ignore[typeddict-item]
        if load is Load.UNBOUNDED:
            await next_app(scope, receive, send)
            return
        self._admission.check(load)
        place = Place(self._admission.gates[load])
        incoming = IncomingBody(scope, receive, self._admission.bodies, place)
        if incoming.complete:
            place.take()
        try:
            await next_app(scope, incoming, send)
        finally:
            place.give_back()
            incoming.release()
