"""Rate limits: how many requests a minute a key may send, or an address without a key.

Source of the reply's headers: IETF draft-ietf-httpapi-ratelimit-headers-10.
"""

import math
from ipaddress import IPv6Address, ip_address
from typing import Any

from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.handlers import BaseRouteHandler
from litestar.types import Message, Scope

from app.http.access import principal_of
from app.http.limits_buckets import WINDOW_S, Buckets, Quota
from app.http.limits_in_flight import load_of
from app.overload import Load
from embeddings.errors import Overloaded

_QUOTA = "quota"
# One household or one machine gets a whole network of this size.
_IPV6_NETWORK_BITS = 64

Connection = ASGIConnection[Any, Any, Any, Any]


class RateLimited(Overloaded):
    """One caller asks too often; the service itself is not full."""

    code = "rate_limited"


class RateLimits:
    """A guard behind the AccessGuard, which says who calls.

    per_minute: of callers whose key has no limit of its own; 0: they have none. refused: requests turned away
    so far.
    """

    def __init__(self, per_minute: int, buckets: Buckets | None = None) -> None:
        self._per_minute = per_minute
        self._buckets = buckets or Buckets()
        self.refused = 0

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Count the request, but not one that is never turned away, such as health. Raises RateLimited."""
        if load_of(handler, connection.scope["method"]) is Load.UNBOUNDED:  # type: ignore[typeddict-item]
            return
        caller = principal_of(connection)
        own = caller.rate_per_minute
        per_minute = self._per_minute if own is None else own
        if not per_minute:
            return
        quota = self._buckets.take(caller.identity or _address_of(connection), per_minute)
        connection.scope["state"][_QUOTA] = quota
        if quota.retry_in_s is not None:
            self.refused += 1
            raise _too_often(quota, quota.retry_in_s)


async def add_rate_limit_headers(message: Message, scope: Scope) -> None:
    """Hook before each message that goes out: tell the caller what is left of its quota."""
    if message["type"] != "http.response.start":
        return
    quota = scope["state"].get(_QUOTA)
    if isinstance(quota, Quota):
        headers = MutableScopeHeaders(message)
        headers["RateLimit-Policy"] = f'"minute";q={quota.limit};w={WINDOW_S:.0f}'
        headers["RateLimit"] = f'"minute";r={quota.remaining};t={math.ceil(quota.full_in_s)}'


def _too_often(quota: Quota, retry_in_s: float) -> RateLimited:
    pause_s = max(1, math.ceil(retry_in_s))
    return RateLimited(
        f"at most {quota.limit} requests a minute are answered to this caller",
        found="more than that",
        expected=f"at most {quota.limit} requests a minute",
        next_step=f"send it again in {pause_s} s, or use a key with a higher limit",
        retry_after_s=pause_s,
    )


def _address_of(connection: Connection) -> tuple[str, str]:
    """The caller without a key. The pair keeps an address apart from all identities."""
    host = connection.client.host if connection.client else ""
    return "address", _network_of(host)


def _network_of(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:  # a Unix socket, or a test
        return host
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return f"{int(address) >> (128 - _IPV6_NETWORK_BITS):x}"
    return str(getattr(address, "ipv4_mapped", None) or address)
