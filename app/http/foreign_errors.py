"""Failures on the paths that other servers' clients call, in the form which those clients read.

What happened is decided once, as a problem (problems.py); here it is only told in other words.
Sources: platform.openai.com/docs/guides/error-codes; huggingface/text-embeddings-inference 1.9,
router/src/lib.rs and router/src/http/server.rs; docs.cohere.com/reference/errors.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Literal

from litestar import Response
from litestar.openapi import ResponseSpec
from msgspec import Meta, Struct

from app.http.problems import Problem

_URN = "urn:footnote:"
_OPENAI_PATHS = ("/v1/embeddings", "/v1/models", "/v1/chat", "/v1/completions")
_TEI_PATHS = frozenset({"/embed", "/similarity", "/rerank", "/info", "/health"})
_COHERE_PATHS = frozenset({"/v1/rerank", "/v2/rerank"})


class OpenAIError(Struct, frozen=True):
    """What went wrong, as OpenAI's clients read it."""

    message: Annotated[str, Meta(description="What happened, and what to do")]
    type: Annotated[
        Literal["invalid_request_error", "rate_limit_error", "server_error"],
        Meta(description="Whose fault it is"),
    ]
    param: Annotated[str | None, Meta(description="The field that was wrong", examples=["input[3]"])]
    code: Annotated[str | None, Meta(description="The kind", examples=["context_length_exceeded"])]


class OpenAIErrorReply(Struct, frozen=True):
    """A failure of an OpenAI route."""

    error: OpenAIError


class TEIErrorReply(Struct, frozen=True):
    """A failure of a Text Embeddings Inference route."""

    error: Annotated[str, Meta(description="What happened, and what to do")]
    error_type: Annotated[
        Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Empty"], Meta(description="The kind")
    ]


class CohereErrorReply(Struct, frozen=True):
    """A failure of a Cohere route."""

    message: Annotated[str, Meta(description="What happened, and what to do")]


ForeignReply = Response[OpenAIErrorReply] | Response[TEIErrorReply] | Response[CohereErrorReply]
ErrorForm = Callable[[Problem, Mapping[str, str]], ForeignReply]


def foreign_form(method: str, path: str) -> ErrorForm | None:
    """The form of failures at a path; None where problem details are."""
    path = path.rstrip("/")
    if any(path == known or path.startswith(known + "/") for known in _OPENAI_PATHS):
        return openai_reply
    if path in _TEI_PATHS or (path == "" and method == "POST"):
        return tei_reply
    return cohere_reply if path in _COHERE_PATHS else None


_OPENAI_CODES = {
    "unauthenticated": "invalid_api_key",
    "forbidden": "insufficient_permissions",
    "not_found": "unknown_url",
    "method_not_allowed": "method_not_supported",
    "internal": "server_error",
}


def openai_reply(problem: Problem, headers: Mapping[str, str]) -> Response[OpenAIErrorReply]:
    """A problem as OpenAI tells it. Its clients know a wrong value as 400, which problem details call 422."""
    status = 400 if problem.status == 422 else problem.status
    error = OpenAIError(_in_words(problem), _openai_type(status), problem.field, _openai_code(problem))
    return Response(OpenAIErrorReply(error), status_code=status, headers=dict(headers))


def _openai_type(status: int) -> Literal["invalid_request_error", "rate_limit_error", "server_error"]:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"


def _openai_code(problem: Problem) -> str:
    if problem.status == 429:
        return "rate_limit_exceeded"
    code = problem.type.removeprefix(_URN)
    return _OPENAI_CODES.get(code, code)


_TEIKind = Literal["Unhealthy", "Backend", "Overloaded", "Validation", "Empty"]
# Sizes answer 413 and other wrong values 422, as TEI describes itself; 1.9 itself answers 422 to both.
_TEI_CODES: dict[str, tuple[int, _TEIKind]] = {
    "empty_input": (400, "Empty"),
    "too_many_inputs": (413, "Validation"),
    "context_length_exceeded": (413, "Validation"),
}
_TEI_STATUSES: dict[int, tuple[int, _TEIKind]] = {
    429: (429, "Overloaded"),
    500: (424, "Backend"),
    503: (503, "Unhealthy"),
    504: (504, "Overloaded"),
}


def tei_reply(problem: Problem, headers: Mapping[str, str]) -> Response[TEIErrorReply]:
    """A problem as Text Embeddings Inference tells it."""
    otherwise = _TEI_STATUSES.get(problem.status, (problem.status, "Validation"))
    status, kind = _TEI_CODES.get(problem.type.removeprefix(_URN), otherwise)
    return Response(TEIErrorReply(_in_words(problem), kind), status_code=status, headers=dict(headers))


def cohere_reply(problem: Problem, headers: Mapping[str, str]) -> Response[CohereErrorReply]:
    """A problem as Cohere tells it. Its clients know a wrong value as 400."""
    status = 400 if problem.status == 422 else problem.status
    return Response(CohereErrorReply(_in_words(problem)), status_code=status, headers=dict(headers))


def _in_words(problem: Problem) -> str:
    """Everything that problem details say in fields of their own, as one text."""
    text = problem.detail
    if problem.expected and problem.expected not in text:
        text += f" (expected: {problem.expected})"
    return f"{text}; {problem.next}" if problem.next else text


# A missing key, a key without the scope, a body that does not come, a full house, a service that is not yet
# open, and a request whose time is over.
_EVERYWHERE = (401, 403, 408, 429, 503, 504)


def openai_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """Document the failures of an OpenAI route. statuses: those beside the ones every route may give."""
    return _describe(OpenAIErrorReply, {*_EVERYWHERE, *statuses})


def tei_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """Document the failures of a TEI route. statuses: those beside the ones every route may give."""
    return _describe(TEIErrorReply, {*_EVERYWHERE, *statuses})


def cohere_responses(*statuses: int) -> dict[int, ResponseSpec]:
    """Document the failures of a Cohere route. statuses: those beside the ones every route may give."""
    return _describe(CohereErrorReply, {*_EVERYWHERE, *statuses})


def _describe(form: type[Struct], statuses: set[int]) -> dict[int, ResponseSpec]:
    return {
        status: ResponseSpec(form, generate_examples=False, description=HTTPStatus(status).phrase)
        for status in sorted(statuses)
    }
