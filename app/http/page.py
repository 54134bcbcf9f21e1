"""The page at / and the headers that protect it. Documents are a stranger's text, so scripts are ours or
nobody's.
"""

from pathlib import Path

from litestar import Router, get
from litestar.datastructures import MutableScopeHeaders
from litestar.response import File
from litestar.static_files import create_static_files_router
from litestar.types import Message, Scope

from app.http.access import PUBLIC

WEB = Path(__file__).parents[1] / "web"

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Replies carry a stranger's bytes (originals, text): even opened by hand they run nothing.
_REPLY_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
_PAGES = ("/web/", "/schema")


@get("/", include_in_schema=False, opt={"scope": PUBLIC}, media_type="text/html")
async def index() -> File:
    """The page."""
    return File(WEB / "index.html", content_disposition_type="inline", media_type="text/html")


def assets_router() -> Router:
    """The files of the page and of the OpenAPI page, under /web."""
    return create_static_files_router(path="/web", directories=[WEB], opt={"scope": PUBLIC})


async def add_security_headers(message: Message, scope: Scope) -> None:
    """Hook before each message that goes out: say to the browser what it may do with the reply."""
    if message["type"] != "http.response.start":
        return
    path = scope["path"]
    is_page = path == "/" or path.startswith(_PAGES)
    headers = MutableScopeHeaders(message)
    headers["Content-Security-Policy"] = _PAGE_POLICY if is_page else _REPLY_POLICY
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
