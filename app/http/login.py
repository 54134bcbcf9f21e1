"""Signing a browser in and out: a link or a key against a cookie."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from litestar import Controller, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.enums import RequestEncodingType
from litestar.params import Body, QueryParameter
from litestar.response import Redirect

from app.http.access import NO_COLLECTIONS, SESSION_COOKIE, VISITOR, principal_of
from app.pages.rendering import page
from app.resources import Resources
from app.security import TOKEN_PREFIX
from app.services.sessions import NewSession
from embeddings.errors import NotFound

FIRST_PAGE = "/"
Token = Annotated[str | None, QueryParameter(name="token")]


@dataclass(frozen=True, slots=True)
class SignIn:
    """What is typed into the page. token: of a link, or a key."""

    token: str


class LoginController(Controller):
    """Give a browser the cookie that speaks for it, and take it back."""

    path = "/"
    opt = {"scope": VISITOR, "collections": NO_COLLECTIONS}  # noqa: RUF012  Litestar's interface

    @get("/login")
    async def open_link(
        self, request: Request[Any, Any, Any], resources: NamedDependency[Resources], token: Token = None
    ) -> Response[Any]:
        """Sign in by a link, which works once; without a token the page that asks for one.

        Only a link: a key does not belong into an address, which browsers remember.
        """
        if token is None:
            return page(request, "login.html", problem=None, signed_in=False)
        session = await resources.sessions.open_link(token)
        await _leave(request, resources)
        if request.headers.get("sec-fetch-site") == "cross-site":
            # The link was clicked in another site's page, say a mail. The browser would not show the new
            # cookie to the page it is redirected to; a click on a page of ours shows it.
            shown = page(request, "login.html", problem=None, signed_in=True)
            shown.cookies.append(_cookie(request, session))
            return shown
        return Redirect(FIRST_PAGE, status_code=303, cookies=[_cookie(request, session)])

    @post("/login", status_code=303)
    async def sign_in(
        self,
        request: Request[Any, Any, Any],
        data: Annotated[SignIn, Body(media_type=RequestEncodingType.URL_ENCODED)],
        resources: NamedDependency[Resources],
    ) -> Redirect:
        """Sign in by what was typed: the token of a link, or a key, whose rights the session then has."""
        typed = data.token.strip()
        if typed.startswith(TOKEN_PREFIX):
            session = await resources.sessions.open_with_key(await resources.keys.verify(typed))
        else:
            session = await resources.sessions.open_link(typed.rpartition("token=")[2])
        await _leave(request, resources)
        return Redirect(FIRST_PAGE, status_code=303, cookies=[_cookie(request, session)])

    @post("/logout", status_code=303)
    async def sign_out(
        self, request: Request[Any, Any, Any], resources: NamedDependency[Resources]
    ) -> Redirect:
        """End the session and forget the cookie."""
        await _leave(request, resources)
        gone = Cookie(SESSION_COOKIE, value="", max_age=0, path="/", httponly=True, samesite="strict")
        return Redirect(FIRST_PAGE, status_code=303, cookies=[gone])


async def _leave(request: Request[Any, Any, Any], resources: Resources) -> None:
    """End the session that the browser came with, if it had one."""
    session_id = principal_of(request).session_id
    if session_id is not None:
        with suppress(NotFound):  # somebody has just ended it
            await resources.sessions.end(session_id)


def _cookie(request: Request[Any, Any, Any], session: NewSession) -> Cookie:
    return Cookie(
        SESSION_COOKIE,
        value=session.token,
        max_age=session.lasts_s,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.scope["scheme"] == "https",
    )
