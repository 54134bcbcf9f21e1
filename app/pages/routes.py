"""All pages. What goes wrong in one of them is told as a page (`refusals.py` asks for `opt["page"]`)."""

from litestar import Controller, Router
from litestar.types import ControllerRouterHandler

from app.http.login import LoginController
from app.pages.ask import AskController, ask_page
from app.pages.collections import CollectionPages
from app.pages.documents import DocumentPages
from app.pages.jobs import JobPages
from app.pages.map import MapPages
from app.pages.models import ModelPages
from app.pages.playground import PlaygroundPages
from app.pages.preferences import save_preferences
from app.pages.reader import ReaderController
from app.pages.releases import ReleasePages


def page_handlers() -> list[ControllerRouterHandler]:
    """The pages, at the places that people type. They are no part of the API's description."""
    return [ask_page, _others()]


def _others() -> Router:
    return Router(
        "/",
        route_handlers=[AskController, ReaderController, *_lists(), LoginController, save_preferences],
        include_in_schema=False,
        opt={"page": True},
    )


def _lists() -> list[type[Controller]]:
    """Collections, their documents, releases and maps, jobs, models, the playground."""
    return [CollectionPages, DocumentPages, JobPages, MapPages, ModelPages, PlaygroundPages, ReleasePages]
