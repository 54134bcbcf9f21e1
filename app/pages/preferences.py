"""How a visitor wants to see the pages: language and colours, kept in cookies."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from litestar import Request, post
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import Redirect

from app.http.access import NO_COLLECTIONS, VISITOR
from app.overload import Load
from app.pages.translations import LANGUAGES, choose_language
from embeddings.errors import InvalidInput

LANGUAGE_COOKIE = "footnote_language"
THEME_COOKIE = "footnote_theme"
# As the system says, until the visitor says otherwise.
SYSTEM = "system"
THEMES = (SYSTEM, "light", "dark")
KEPT_S = 365 * 24 * 3600


def language_of(request: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The language that the visitor chose, or the best of those that the browser asks for."""
    return choose_language(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))


def theme_of(request: ASGIConnection[Any, Any, Any, Any]) -> str:
    """One of THEMES."""
    chosen = request.cookies.get(THEME_COOKIE)
    return chosen if chosen in THEMES else SYSTEM


@dataclass(frozen=True, slots=True)
class Preferences:
    """What was chosen, and the page to go back to. None: stays as it was."""

    language: str | None = None
    theme: Literal["system", "light", "dark"] | None = None
    next: str = "/"


@post(
    "/preferences", opt={"scope": VISITOR, "collections": NO_COLLECTIONS, "load": Load.READ}, status_code=303
)
async def save_preferences(
    request: Request[Any, Any, Any],
    data: Annotated[Preferences, Body(media_type=RequestEncodingType.URL_ENCODED)],
) -> Redirect:
    """Keep the choice and go back to the page. Raises InvalidInput for a language that there is not."""
    if data.language is not None and data.language not in LANGUAGES:
        raise InvalidInput(
            "there is no page in this language",
            field="language",
            found=data.language,
            expected="one of " + ", ".join(LANGUAGES),
        )
    chosen = {LANGUAGE_COOKIE: data.language, THEME_COOKIE: data.theme}
    secure = request.scope["scheme"] == "https"
    cookies = [
        Cookie(name, value=value, max_age=KEPT_S, samesite="lax", httponly=True, secure=secure)
        for name, value in chosen.items()
        if value is not None
    ]
    return Redirect(local_path(data.next), status_code=303, cookies=cookies)


def local_path(address: str) -> str:
    """The address if it is a path of this service, else the first page: no link may lead a visitor away."""
    parts = urlsplit(address)
    ours = not parts.scheme and not parts.netloc and address.startswith("/")
    return address if ours and "\\" not in address and not address.startswith("//") else "/"
