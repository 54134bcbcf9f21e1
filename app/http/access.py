"""Who may call what. One guard stands before every route, and a route that says nothing about itself is
closed.

Reading is open while the service listens on loopback; then the Host header must be a loopback name, or a
web page could point its own name at 127.0.0.1 and read through the visitor's browser (DNS rebinding).
Outside loopback everything but health and the page needs a key.
"""

from ipaddress import ip_address
from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from app.services.types import Scope
from embeddings.errors import Forbidden, InvalidInput, Unauthenticated

PUBLIC = "public"
_BEARER = "bearer "


def is_loopback(host: str) -> bool:
    """True for a name or address that only this machine can reach: localhost, 127.0.0.0/8, ::1."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def required_scope(handler: BaseRouteHandler, method: str) -> Scope | None:
    """The scope that a call needs; None for what is public (health, the page, the API's description).

    A route states it as `scope=`. One that does not is read-only when it is a GET, and for administrators
    when not.
    """
    stated = handler.opt.get("scope")
    if stated == PUBLIC:
        return None
    if stated is not None:
        return Scope(stated)
    return Scope.READ if method in {"GET", "HEAD", "OPTIONS"} else Scope.ADMIN


class AccessGuard:
    """Checks each call before its body is read. bound_host: the address that the service listens on."""

    def __init__(self, bound_host: str) -> None:
        self._open_reads = is_loopback(bound_host)

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Raise Forbidden for a foreign Host or a key without the scope, Unauthenticated without a good
        key.
        """
        if self._open_reads:
            _require_loopback_name(connection)
        scope = required_scope(handler, Request(connection.scope).method)
        if scope is None or (scope is Scope.READ and self._open_reads):
            return
        token = _token(connection)
        principal = await connection.app.state.opening.resources.keys.verify(token)
        if not principal.allows(scope):
            held = ", ".join(sorted(principal.scopes))
            raise Forbidden(
                f"the key {principal.name} does not have the scope {scope}",
                field="Authorization",
                found=held,
                expected=scope,
                next_step=f"make one with: footnote keys create --name NAME --scope {scope}",
            )
        connection.scope["state"]["principal"] = principal


# Not async for its own sake: Litestar sends a plain guard through a thread, 0.13 ms of each request.
async def reject_unknown_parameters(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """Guard: raise InvalidInput for a query parameter that the route does not know."""
    declared = handler.parsed_fn_signature.parameters
    known = [
        field.kwarg_definition.name or name
        for name, field in declared.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    ]
    for name in connection.query_params:
        if name not in known:
            raise InvalidInput(
                f"{name}: this parameter is not known",
                field=name,
                found="an unknown parameter",
                expected="one of " + ", ".join(known) if known else "no parameters",
                next_step="check the spelling, or remove the parameter",
            )


def _require_loopback_name(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    host = connection.headers.get("host", "")
    name = host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    if not is_loopback(name):
        raise Forbidden(
            f"this service answers to names of this machine only, not to {host!r}",
            field="Host",
            found=host,
            expected="localhost, 127.0.0.1 or [::1]",
            next_step="open it as http://127.0.0.1, or set FOOTNOTE_HOST",
        )


def _token(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    header = connection.headers.get("authorization", "")
    if not header.lower().startswith(_BEARER):
        raise Unauthenticated(
            "this route needs a key",
            field="Authorization",
            found="nothing" if not header else "another scheme",
            expected="Bearer fn_...",
            next_step="send the header Authorization: Bearer with a key",
        )
    return header[len(_BEARER) :].strip()
