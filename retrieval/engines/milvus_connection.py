"""A connection to a Milvus server, and what its failures are called here; it loads pymilvus when opened."""

import logging
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from embeddings.errors import InvalidInput, UpstreamFailed
from retrieval.engines.address import EngineAddress

CONNECT_TIMEOUT_S: Final = 10.0
CALL_TIMEOUT_S: Final = 30.0
_NOT_FOUND: Final = 100
_NOT_LOADED: Final = 101
Given = ParamSpec("Given")
Result = TypeVar("Result")


class CollectionMissing(Exception):
    """The Milvus collection is not there: nothing was ever stored in it, or somebody dropped it."""


class CollectionNotLoaded(Exception):
    """It is there but not in the server's memory, so it cannot be read yet."""


class MilvusConnection:
    """One client, safe for use by several threads."""

    def __init__(self, address: EngineAddress) -> None:
        """Raises InvalidInput without pymilvus, UpstreamFailed when the server refuses us or is not there."""
        self._shown = address.shown
        pymilvus = _pymilvus()
        self._failures = (pymilvus.MilvusException, *_grpc_failures())
        self.client: Any = self.call(pymilvus.MilvusClient, **_arguments(address.url))

    def call(self, request: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
        """What a request answers. Raises CollectionMissing, CollectionNotLoaded, UpstreamFailed."""
        try:
            return request(*args, **kwargs)
        except self._failures as error:
            code = getattr(error, "code", None)
            if code == _NOT_FOUND:
                raise CollectionMissing from error
            if code == _NOT_LOADED:
                raise CollectionNotLoaded from error
            raise self._failed(error) from error

    def now(self) -> int:
        """A time of the server's clock after all that was written until now; 0 from a server without one.

        A read with it as `guarantee_timestamp` sees those writes; 0 asks for the newest state.
        """
        handler = self.client._get_connection()  # MilvusClient itself does not offer it
        allocate = getattr(handler, "alloc_timestamp", None)
        return int(self.call(allocate, timeout=CALL_TIMEOUT_S) or 0) if allocate else 0

    def close(self) -> None:
        self.client.close()

    def _failed(self, error: Exception) -> UpstreamFailed:
        said = str(getattr(error, "message", error))[:300]
        return UpstreamFailed(
            f"the index engine {self._shown} failed: {said}",
            field="engine",
            found=self._shown,
            expected="a Milvus server that answers",
            next_step="see whether it runs, and whether FOOTNOTE_INDEX_URL has its address and password",
        )


def _pymilvus() -> Any:
    try:
        import pymilvus  # noqa: PLC0415  (a second to load, and only where Milvus is chosen)
    except ImportError as error:
        raise InvalidInput(
            "the package pymilvus is not installed",
            field="index_url",
            found="an index engine of the kind milvus",
            expected="the extra `milvus`",
            next_step="pip install 'footnote[milvus]'",
        ) from error
    # It logs each failure with a traceback and the whole expression; we raise them, in our own words.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
    return pymilvus


def _grpc_failures() -> tuple[type[Exception], ...]:
    import grpc  # noqa: PLC0415  (comes with pymilvus)

    return (grpc.RpcError, grpc.FutureTimeoutError)


def _arguments(url: str) -> dict[str, Any]:
    """What MilvusClient takes for `milvus://user:password@host:port/database?secure=true`."""
    parts = urlsplit(url)
    if parts.scheme == "milvus+lite":
        return {"uri": unquote(parts.path)}
    secure = parse_qs(parts.query).get("secure") == ["true"]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return {
        "uri": f"{'https' if secure else 'http'}://{host}:{parts.port or 19_530}",
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "db_name": unquote(parts.path.strip("/")),
        "timeout": CONNECT_TIMEOUT_S,
    }
