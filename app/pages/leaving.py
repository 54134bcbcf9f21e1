"""Where a visitor goes after something was done: to another page, however the form was sent."""

from litestar import Response
from litestar.response import Redirect

from app.pages.rendering import Connection, wants_fragment


def go_to(request: Connection, address: str) -> Response[str] | Redirect:
    """Open another page. htmx, which would follow a redirect and put that page into this one, is told by a
    header; a form that the browser sends itself gets a redirect.
    """
    if wants_fragment(request):
        return Response("", status_code=200, headers={"HX-Redirect": address})
    return Redirect(address, status_code=303)
