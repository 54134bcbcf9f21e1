"""Which failure becomes which problem, and in whose form: the one table that the application is given."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from app.http.disconnect import ClientGone
from app.http.foreign_errors import foreign_form
from app.http.idempotency import AlreadyAnsweredError, on_repetition
from app.http.problems import Problem, describe_failure, headers_of, problem_of, respond
from app.http.validation import explain_form, explain_parameter
from app.pages.rendering import problem_page
from embeddings.errors import InvalidInput, TooLarge

# nginx's name for it: nobody reads the reply, but a log may count it.
CLIENT_GONE = 499


def _on_failure(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    return _answer(request, describe_failure(error))


def _on_client_gone(_: Request[Any, Any, Any], __: ClientGone) -> Response[None]:
    return Response(None, status_code=CLIENT_GONE)


def _on_wrong_parameter(request: Request[Any, Any, Any], error: ValidationException) -> Response[Any]:
    faults = error.extra if isinstance(error.extra, list) else []
    fault = next((fault for fault in faults if isinstance(fault, dict) and "key" in fault), None)
    if fault is None:
        return _answer(request, problem_of(InvalidInput(_first_message(faults) or error.detail)))
    if fault.get("source") == "body":
        form = request.route_handler.parsed_data_field
        declared = form.annotation if form else Any
        return _answer(request, problem_of(explain_form(fault["key"], fault["message"], declared)))
    name, _, _ = fault["key"].partition(".")
    sent = request.query_params.get(name, request.path_params.get(name))
    declared = request.route_handler.signature_model.__annotations__.get(name)
    found = None if sent is None else str(sent)
    return _answer(request, problem_of(explain_parameter(name, declared, found, fault["message"])))


def _on_overflow(request: Request[Any, Any, Any], error: OverflowError) -> Response[Any]:
    """Answer for a number that the database has no room for; any other overflow is a fault of ours."""
    if "SQLite INTEGER" not in str(error):
        return _on_failure(request, error)
    message = "a number in the request is larger than any that is stored"
    return _answer(request, problem_of(InvalidInput(message, expected=f"at most {2**63 - 1}")))


def _first_message(faults: list[Any]) -> str | None:
    return next((str(fault.get("message")) for fault in faults if isinstance(fault, dict)), None)


def _on_refused_request(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """Answer for what Litestar itself refuses: an unknown route, a wrong method, a body above the limit."""
    if error.status_code >= 500:
        return _on_failure(request, error)
    phrase = HTTPStatus(error.status_code).phrase.lower()
    code = TooLarge.code if error.status_code == 413 else phrase.replace(" ", "_")
    problem = Problem(
        type=f"urn:footnote:{code}",
        title=code.replace("_", " ").capitalize(),
        status=error.status_code,
        **_refusal(request, error),
    )
    return _answer(request, problem, dict(error.headers or {}))


def _refusal(request: Request[Any, Any, Any], error: HTTPException) -> dict[str, Any]:
    """detail, field, found, expected, next: as far as they are known."""
    call, path = f"{request.method} {request.url.path}", request.url.path
    match error.status_code:
        case 404:
            return {
                "detail": f"there is nothing at {path}",
                "found": call,
                "next": "see /schema for all routes",
            }
        case 405:
            allowed = (error.headers or {}).get("allow", "")
            return {
                "detail": f"{path} does not take {request.method}",
                "found": call,
                "expected": f"one of {allowed}",
                "next": "see /schema for all routes",
            }
        case 413:
            found, most = request.headers.get("content-length"), request.app.request_max_body_size
            return {
                "detail": "the request is too large",
                "field": "body",
                "expected": f"at most {most} bytes",
                "found": f"{found} bytes" if found else f"more than {most} bytes",
                "next": "send several smaller requests, or raise FOOTNOTE_MAX_REQUEST_BYTES",
            }
        case _ if "multipart" in error.detail:
            return {
                "detail": "the form cannot be read",
                "field": "body",
                "found": "broken multipart/form-data",
                "expected": "complete parts, and their boundary in the header Content-Type",
            }
        case _:
            return {"detail": error.detail}


def _answer(
    request: Request[Any, Any, Any], problem: Problem, headers: dict[str, str] | None = None
) -> Response[Any]:
    """The problem in the form that this path's clients read."""
    if _is_page(request):
        return problem_page(request, problem, headers_of(problem) | (headers or {}))
    form = foreign_form(request.method, request.scope["path"])
    if form is None:
        return respond(problem, headers)
    return form(problem, headers_of(problem) | (headers or {}))


def _is_page(request: Request[Any, Any, Any]) -> bool:
    """Whether people look at the answer: of a page, or of an address that is nothing and that they typed."""
    known: Mapping[str, Any] = request.scope  # an unknown path has no handler
    handler = known.get("route_handler")
    if handler is not None:
        return bool(handler.opt.get("page"))
    typed = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    return typed and not request.scope["path"].startswith("/v1/")


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    Exception: _on_failure,
    AlreadyAnsweredError: on_repetition,
    ClientGone: _on_client_gone,
    HTTPException: _on_refused_request,
    OverflowError: _on_overflow,
    ValidationException: _on_wrong_parameter,
}
