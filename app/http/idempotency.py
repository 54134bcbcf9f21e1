"""The header Idempotency-Key: a write that is sent twice is done once and gets one answer.

The answer is kept in the transaction of the write. A write that fails keeps nothing, because nothing of it
was written, and may be sent again under its key.
"""

import hashlib
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from litestar import Request, Response
from litestar.di import NamedDependency
from litestar.params import HeaderParameter

from app.db.idempotency import Answer, KeyedRequest, find_answer, still_in_progress
from app.http.access import principal_of
from app.http.request import JSON
from app.resources import Resources
from app.services.receipts import Receipt
from embeddings.errors import InvalidInput

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

T = TypeVar("T")

KeyInHeader = Annotated[
    str | None,
    HeaderParameter(
        name=HEADER,
        description="1 to 255 visible ASCII characters; the same request under the same key is done once",
    ),
]


class AlreadyAnsweredError(Exception):
    """The request was answered before; its answer is sent again."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("answered before")
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Keyed:
    """What a handler needs to be repeatable. request: None when the client gave no key."""

    request: KeyedRequest | None

    def receipt(self, status_code: int, reply: Callable[[T], object]) -> Receipt[T] | None:
        """For the service that writes. reply: from its result to the body of the answer."""
        if self.request is None:
            return None
        return Receipt(self.request, lambda result: Answer(status_code, msgspec.json.encode(reply(result))))

    def receipt_without_body(self) -> Receipt[Any] | None:
        """The same for an answer 204."""
        return None if self.request is None else Receipt(self.request, lambda _: Answer(204, b""))


class KeyedWrites:
    """Knows which keyed requests are in progress in this process."""

    def __init__(self) -> None:
        self._in_progress: set[tuple[str, str]] = set()

    async def provide(
        self,
        request: Request[Any, Any, Any],
        resources: NamedDependency[Resources],
        idempotency_key: KeyInHeader = None,
    ) -> AsyncGenerator[Keyed, None]:
        """Dependency: raise AlreadyAnsweredError for a repetition, Conflict while the first one goes on, and
        InvalidInput for a bad key or one that another request has used.
        """
        if idempotency_key is None:
            yield Keyed(None)
            return
        keyed = await _keyed_request(request, idempotency_key)
        entry = (keyed.scope, keyed.key)
        if entry in self._in_progress:
            raise still_in_progress(keyed.key)
        self._in_progress.add(entry)
        try:
            await _answer_repetition(resources, keyed)
            yield Keyed(keyed)
        finally:
            self._in_progress.discard(entry)


def on_repetition(_: Request[Any, Any, Any], repetition: AlreadyAnsweredError) -> Response[bytes]:
    """Send the kept answer, to the byte."""
    answer = repetition.answer
    media_type = JSON if answer.body else None
    return Response(answer.body, status_code=answer.status_code, media_type=media_type, headers=REPLAYED)


async def _answer_repetition(resources: Resources, keyed: KeyedRequest) -> None:
    async with resources.database.read() as connection:
        kept = await find_answer(connection, keyed)
    if kept is None:
        return
    if kept.request_hash != keyed.request_hash:
        raise InvalidInput(
            "this idempotency key belongs to another request",
            field=HEADER,
            found=keyed.key,
            expected="the request that it was first sent with, or a new key",
            next_step="make a new key for each write; send a write again with the key that it had",
        )
    raise AlreadyAnsweredError(kept.answer)


async def _keyed_request(request: Request[Any, Any, Any], key: str) -> KeyedRequest:
    if not _KEY.fullmatch(key):
        expected = "1 to 255 visible ASCII characters"
        raise InvalidInput(
            "the idempotency key is not allowed", field=HEADER, found=key or "nothing", expected=expected
        )
    caller = principal_of(request).identity
    path = request.scope["raw_path"].decode("latin-1")
    return KeyedRequest(f"{caller} {request.method} {path}", key, await _hash(request))


async def _hash(request: Request[Any, Any, Any]) -> str:
    """SHA-256 of what is asked. The boundary of a form is left out: clients draw it anew each time."""
    kind, parameters = request.content_type
    body = await request.body()
    if boundary := parameters.get("boundary", "").encode():
        body = body.replace(boundary, b"")
    return hashlib.sha256(b"\0".join([kind.encode(), request.scope["query_string"], body])).hexdigest()
