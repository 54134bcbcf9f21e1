"""When a request is sent again, and how a reply that cannot be used is told."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from app.client import (
    AsyncFootnote,
    File,
    Footnote,
    FootnoteError,
    NotFound,
    Overloaded,
    RetryPolicy,
    UnknownReply,
    Unreachable,
)

FULL = {
    "type": "urn:footnote:overloaded",
    "title": "Overloaded",
    "status": 429,
    "detail": "the queue is full",
}


def done() -> httpx.Response:
    return httpx.Response(200, json={"deleted": 2})


class Script:
    """Answers one request after the other. requests: those that came."""

    def __init__(self, *replies: httpx.Response | httpx.TransportError) -> None:
        self.requests: list[httpx.Request] = []
        self._replies: Iterator[httpx.Response | httpx.TransportError] = iter(replies)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = next(self._replies)
        if isinstance(reply, httpx.TransportError):
            raise reply
        return reply

    def client(self, **policy: float) -> Footnote:
        return Footnote(transport=httpx.MockTransport(self), retry=RetryPolicy(**policy))  # type: ignore[arg-type]


def refusal(status: int = 429, **headers: str) -> httpx.Response:
    kind = {"Content-Type": "application/problem+json"}
    body = {**FULL, "status": status, "retry_after_s": 2}
    return httpx.Response(status, json=body, headers=kind | {"Retry-After": "2"} | headers)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that a client wanted to sleep, without sleeping them."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("app.client.synchronous.time.sleep", slept.append)
    monkeypatch.setattr("app.client.asynchronous.asyncio.sleep", sleep)
    return slept


@pytest.mark.parametrize("status", [429, 503])
def test_service_without_room_is_asked_again_when_it_says(pauses: list[float], status: int) -> None:
    script = Script(refusal(status), refusal(status), done())
    assert script.client().delete_documents("garden", ids=["a", "b"]).deleted == 2
    assert len(pauses) == 2
    assert all(2 <= pause <= 2.5 for pause in pauses)
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 1


def test_awaited_client_waits_as_well(pauses: list[float]) -> None:
    script = Script(refusal(), done())

    async def delete() -> int:
        async with AsyncFootnote(transport=httpx.MockTransport(script)) as client:
            return (await client.delete_documents("garden", ids=["a"])).deleted

    assert asyncio.run(delete()) == 2
    assert len(pauses) == 1


def test_last_refusal_is_raised_with_the_time_it_names(pauses: list[float]) -> None:
    with pytest.raises(Overloaded, match="queue is full") as refused:
        Script(*[refusal() for _ in range(3)]).client(retries=2).search("garden", "peas")
    assert refused.value.retry_after_s == 2
    assert len(pauses) == 2


def test_pause_that_is_too_long_is_left_to_the_caller(pauses: list[float]) -> None:
    with pytest.raises(Overloaded):
        Script(refusal(**{"Retry-After": "3600"})).client().search("garden", "peas")
    assert pauses == []


def test_broken_connection_repeats_what_may_be_repeated(pauses: list[float]) -> None:
    script = Script(httpx.RemoteProtocolError("gone"), done())
    assert script.client().delete_documents("garden", ids=["a"]).deleted == 2
    assert len(script.requests) == 2


def test_broken_connection_does_not_repeat_what_might_be_done_twice(pauses: list[float]) -> None:
    script = Script(httpx.RemoteProtocolError("gone"), done())
    with pytest.raises(Unreachable, match="gone"):
        script.client().add_feedback("garden", "peas", "click", "peas.md")
    assert len(script.requests) == 1


def test_files_are_read_again_for_the_next_attempt(pauses: list[float]) -> None:
    bodies: list[bytes] = []
    replies = iter([refusal(), httpx.Response(200, json={"errors": False, "items": []})])

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        return next(replies)

    client = Footnote(transport=httpx.MockTransport(answer))
    client.add_files("garden", [File("peas.txt", b"Sow peas in April.")])
    assert [b"Sow peas in April." in body for body in bodies] == [True, True]


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no such model", "type": "invalid_request_error", "param": None, "code": None}},
        {"error": "no such model", "error_type": "Validation"},
        {"message": "no such model"},
    ],
    ids=["openai", "tei", "cohere"],
)
def test_failures_of_the_other_forms_keep_their_words(body: object) -> None:
    with pytest.raises(NotFound, match="no such model"):
        Script(httpx.Response(404, json=body)).client().embed(["peas"], model="nothing")


def test_request_id_goes_with_the_failure() -> None:
    reply = httpx.Response(500, json={"message": "broken"}, headers={"X-Request-Id": "abc"})
    with pytest.raises(FootnoteError) as failed:
        Script(reply).client().list_models()
    assert failed.value.__notes__ == ["request id: abc"]


def test_reply_of_something_else_is_told_as_such() -> None:
    with pytest.raises(UnknownReply, match="GET /v1/collections answered 200"):
        Script(httpx.Response(200, text="<html>a proxy</html>")).client().list_collections()


def test_key_is_not_carried_to_where_a_redirect_leads() -> None:
    script = Script(httpx.Response(302, headers={"Location": "http://elsewhere.example/"}))
    with pytest.raises(FootnoteError):
        script.client().list_collections()
    assert len(script.requests) == 1
