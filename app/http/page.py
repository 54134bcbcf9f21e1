"""The files of the pages, and the headers that protect every reply."""

from pathlib import Path
from typing import Any

from litestar import Router
from litestar.connection import ASGIConnection
from litestar.datastructures import CacheControlHeader, MutableScopeHeaders
from litestar.exceptions import NotFoundException
from litestar.handlers import BaseRouteHandler
from litestar.static_files import create_static_files_router
from litestar.types import Message, Scope

from app.http.access import PUBLIC
from app.pages.rendering import PAGE_POLICY

# Of one file, on the usual file systems.
MAX_NAME_BYTES = 255
# Short, because the files of a newer Footnote have the same names.
KEPT_S = 600
WEB = Path(__file__).parents[1] / "web"

# Replies carry a stranger's bytes (originals, text): even opened by hand they run nothing.
_REPLY_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
# The pages themselves bring their policy along (app/pages/rendering.py).
_PAGES = ("/web/", "/schema")


def assets_router() -> Router:
    """The files of the page and of the OpenAPI page, under /web."""
    return create_static_files_router(
        path="/web",
        directories=[WEB],
        opt={"scope": PUBLIC},
        guards=[_require_file_name],
        cache_control=CacheControlHeader(public=True, max_age=KEPT_S),
    )


async def _require_file_name(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: what no file system takes for a name is the name of nothing here; it would be a failure else."""
    path = connection.scope["path"]
    parts = path.encode("utf-8", "surrogatepass").split(b"/")
    if "\x00" in path or not path.isprintable() or any(len(part) > MAX_NAME_BYTES for part in parts):
        raise NotFoundException


async def add_security_headers(message: Message, scope: Scope) -> None:
    """Hook before each message that goes out: say to the browser what it may do with the reply."""
    if message["type"] != "http.response.start":
        return
    path = scope["path"]
    is_page = path.startswith(_PAGES)
    headers = MutableScopeHeaders(message)
    headers.setdefault("Content-Security-Policy", PAGE_POLICY if is_page else _REPLY_POLICY)
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Referrer-Policy", "no-referrer")
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    if not is_page:  # what one caller may read, no proxy keeps for the next
        headers.setdefault("Cache-Control", "private, no-cache")
