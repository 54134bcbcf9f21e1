"""Who may call what. One guard stands before every route, and a route that says nothing about itself is
closed.

A caller shows a key (`Authorization: Bearer`), or the cookie of a page session, or nothing. Reading is open
while the service listens on loopback; then the Host header must be a loopback name, or a web page could point
its own name at 127.0.0.1 and read through the visitor's browser (DNS rebinding). Outside loopback everything
but health and the page's own files needs a caller.
"""

from typing import Any
from urllib.parse import urlsplit

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from app.db.collections import no_such_collection
from app.resources import Resources
from app.security import TOKEN_PREFIX, is_loopback
from app.services.types import Principal, Scope
from embeddings.errors import Forbidden, InvalidInput, Unauthenticated

# What a route says in opt["scope"] beside a scope: for everybody, and for everybody whom it would yet know.
PUBLIC = "public"
VISITOR = "visitor"
# What a route without a collection in its path says in opt["collections"]: that it has nothing to do with
# collections, or that its handler leaves out those that the caller may not see.
NO_COLLECTIONS = "none"
FILTERED = "filtered"
SESSION_COOKIE = "footnote_session"

_BEARER = "bearer "
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_PRINCIPAL = "principal"

Connection = ASGIConnection[Any, Any, Any, Any]


def anonymous(bound_host: str) -> Principal:
    """A caller who shows nothing: a reader on loopback, nobody elsewhere."""
    scopes = {Scope.READ} if is_loopback(bound_host) else set[Scope]()
    return Principal(None, "anonymous", frozenset(scopes))


def principal_of(connection: Connection) -> Principal:
    """The caller, as the guard found it; one who may nothing where no guard ran, as on unknown paths."""
    found = connection.scope["state"].get(_PRINCIPAL)
    return found if isinstance(found, Principal) else Principal(None, "unknown", frozenset())


def required_scope(handler: BaseRouteHandler, method: str) -> Scope | None:
    """The scope that a call needs; None for what is public (health, the page, the API's description).

    A route states it as `scope=`. One that does not is read-only when it is a GET, and for administrators
    when not.
    """
    stated = handler.opt.get("scope")
    if stated in {PUBLIC, VISITOR}:
        return None
    if stated is not None:
        return Scope(stated)
    return Scope.READ if method in _SAFE_METHODS else Scope.ADMIN


class AccessGuard:
    """Checks each call before its body is read. bound_host: the address that the service listens on."""

    def __init__(self, bound_host: str) -> None:
        self._open_reads = is_loopback(bound_host)
        self._anonymous = anonymous(bound_host)

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Find the caller, for principal_of.

        Raises Forbidden for a foreign Host, a call that another site's page makes, or a caller without the
        scope; Unauthenticated without a good key or session; NotFound for a collection that is not the
        caller's to see, as for one that is not there.
        """
        if self._open_reads:
            _require_loopback_name(connection)
        if handler.opt.get("scope") == PUBLIC:
            connection.scope["state"][_PRINCIPAL] = self._anonymous
            return
        method = Request(connection.scope).method
        needed = required_scope(handler, method)
        caller = await self._caller(connection, needed)
        connection.scope["state"][_PRINCIPAL] = caller
        if method not in _SAFE_METHODS and _bearer(connection) is None:
            _require_own_page(connection, caller, needed)
        if needed is not None:
            _require_scope(connection, caller, needed)
            _require_visible(connection, caller, handler)

    async def _caller(self, connection: Connection, needed: Scope | None) -> Principal:
        token = _bearer(connection)
        optional = needed is None or self._anonymous.allows(needed)
        if token is not None:
            # Clients of other servers send some word where they have no key.
            if optional and not token.startswith(TOKEN_PREFIX):
                return self._anonymous
            return await _resources(connection).keys.verify(token)
        cookie = connection.cookies.get(SESSION_COOKIE)
        held = None if cookie is None else await _resources(connection).sessions.find(cookie)
        return held or self._anonymous


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


def _resources(connection: Connection) -> Resources:
    resources: Resources = connection.app.state.opening.resources
    return resources


def _bearer(connection: Connection) -> str | None:
    """The token of the header; None where there is no such header, or one of another scheme."""
    header = connection.headers.get("authorization", "")
    return header[len(_BEARER) :].strip() if header.lower().startswith(_BEARER) else None


def _require_loopback_name(connection: Connection) -> None:
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


def _require_own_page(connection: Connection, caller: Principal, needed: Scope | None) -> None:
    """Refuse what another site's page makes a visitor's browser send with its cookie, and signing in from
    there.

    SameSite=Strict is not enough: a page on another port of this machine is of the same site.
    """
    if caller.session_id is None and needed is not None:
        return
    site, origin = (connection.headers.get(name) for name in ("sec-fetch-site", "origin"))
    if site is not None:
        own = site in {"same-origin", "none"}
    else:  # a browser from before 2023, or no browser
        own = origin is not None and urlsplit(origin).netloc == connection.headers.get("host")
    if not own:
        raise Forbidden(
            "a page session acts from its own page only",
            field="Origin",
            found=origin or site or "nothing",
            expected="the address of this service",
            next_step="open the page itself; a program sends the header Authorization: Bearer with a key",
        )


def _require_scope(connection: Connection, caller: Principal, needed: Scope) -> None:
    if caller.allows(needed):
        return
    if caller.identity is None:
        raise _no_key(connection)
    whose, cure = f"the key {caller.name}", f"footnote keys create --name NAME --scope {needed}"
    if caller.session_id is not None:
        whose, cure = "this page session", f"footnote keys page-link --scope {needed}"
    raise Forbidden(
        f"{whose} does not have the scope {needed}",
        field="Authorization",
        found=", ".join(sorted(caller.scopes)),
        expected=needed,
        next_step=f"make one with: {cure}",
    )


def _require_visible(connection: Connection, caller: Principal, handler: BaseRouteHandler) -> None:
    """Refuse a caller who is limited to some collections all others, and what is about none in particular."""
    if caller.collections is None:
        return
    name = connection.path_params.get("name")
    if name is not None and not caller.may_see(name):
        raise no_such_collection(name)
    if name is None and handler.opt.get("collections") not in {NO_COLLECTIONS, FILTERED}:
        raise Forbidden(
            f"{caller.name} is limited to some collections, and this route is about all of them",
            field="Authorization",
            found="limited to " + ", ".join(sorted(caller.collections)),
            expected="a key without a limit",
            next_step="make one with `footnote keys create`, without --collection",
        )


def _no_key(connection: Connection) -> Unauthenticated:
    header = connection.headers.get("authorization", "")
    found = "another scheme" if header else "nothing"
    if not header and SESSION_COOKIE in connection.cookies:
        found = "a page session that has ended"
    return Unauthenticated(
        "this route needs a key",
        field="Authorization",
        found=found,
        expected="Bearer fn_...",
        next_step="send the header Authorization: Bearer with a key, or open the page by a link of "
        "`footnote keys page-link`",
    )
