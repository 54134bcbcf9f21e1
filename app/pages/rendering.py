"""Pages and fragments of pages, in the visitor's language and for what the visitor may do."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from litestar import Response
from litestar.connection import ASGIConnection

from app.http.access import principal_of
from app.http.problems import Problem
from app.pages.formats import FILTERS
from app.pages.preferences import language_of, theme_of
from app.pages.translations import LANGUAGES, translations_of
from app.services.types import Scope

Connection = ASGIConnection[Any, Any, Any, Any]
TEMPLATES = Path(__file__).parent / "templates"
HTML = "text/html"
# Documents are a stranger's text, so scripts are ours or nobody's.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def page(request: Connection, template: str, /, status_code: int = 200, **context: Any) -> Response[str]:
    """A whole page. context: what the template names, beside what every template has (`context_of`)."""
    headers = {
        "Content-Security-Policy": PAGE_POLICY,
        # With no-referrer a browser sends forms of ours with "Origin: null", as those of strangers.
        "Referrer-Policy": "same-origin",
        "Cache-Control": "private, no-cache",
        "Vary": "Accept-Language, Cookie, HX-Request",
    }
    return Response(
        markup(request, template, **context), status_code=status_code, media_type=HTML, headers=headers
    )


def fragment(request: Connection, template: str, /, status_code: int = 200, **context: Any) -> Response[str]:
    """A part of a page, for htmx to put in; made like a page."""
    return page(request, template, status_code, **context)


def markup(request: Connection, template: str, /, **context: Any) -> str:
    """The text of a page or a fragment."""
    return environment().get_template(template).render(context_of(request) | context)


def wants_fragment(request: Connection) -> bool:
    """Whether htmx or a script of ours asked, for a part of the page that is open."""
    return "hx-request" in request.headers and "hx-history-restore-request" not in request.headers


def problem_page(request: Connection, problem: Problem, headers: Mapping[str, str]) -> Response[str]:
    """A failure as people see it: a page, or the fragment where htmx asked; without a key, the page that
    asks for one. headers: what the failure says in headers as well.
    """
    template = "login.html" if problem.status == 401 else "problem.html"
    if wants_fragment(request):
        template = "fragments/problem.html"
    shown = page(request, template, problem.status, problem=problem)
    shown.headers.update(headers)
    return shown


def translator(request: Connection) -> Callable[[str], str]:
    """What turns an English message into the visitor's language, for texts that Python chooses. Mark such
    texts with `_("...")` so that they are found: `_ = translator(request)`.
    """
    return translations_of(language_of(request)).gettext


def context_of(request: Connection) -> dict[str, Any]:
    """What every template has: language, languages, theme, path, address, principal, can(scope)."""
    principal = principal_of(request)
    language = language_of(request)
    query = request.scope["query_string"].decode("latin-1")
    return {
        "language": language,
        "languages": LANGUAGES,
        "translations": translations_of(language),
        "theme": theme_of(request),
        "path": request.scope["path"],
        "address": request.scope["path"] + ("?" + query if query else ""),
        "principal": principal,
        "can": lambda scope: principal.allows(Scope(scope)),
    }


@cache
def environment() -> Environment:
    """The templates. Everything that is put in is escaped, and a name that is missing is a fault."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n"],
    )
    made.filters.update(FILTERS)
    made.policies["ext.i18n.trimmed"] = True
    made.install_gettext_callables(_gettext, _ngettext, newstyle=True)  # type: ignore[attr-defined]
    return made


@pass_context
def _gettext(context: Context, message: str) -> str:
    return str(context["translations"].gettext(message))


@pass_context
def _ngettext(context: Context, singular: str, plural: str, count: int) -> str:
    return str(context["translations"].ngettext(singular, plural, count))
