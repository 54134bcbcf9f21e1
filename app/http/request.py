"""A request whose JSON body is read strictly, straight into the type that its handler declares.

Litestar itself decodes to plain values and converts them leniently ("5" would pass for 5) and does not look
at the content type. The content type matters: a web page of another origin can send text/plain without
asking, and must not get through.
"""

from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import State
from litestar.types import Empty

from app.http.problems import MalformedBody
from app.http.validation import explain_body
from embeddings.errors import FootnoteError, InvalidInput, UnsupportedFormat

JSON = "application/json"


class StrictRequest(Request[Any, Any, State]):
    """Reads JSON bodies with msgspec in strict mode; faults name field, found and expected."""

    async def json(self) -> Any:
        """Read the body as the type that the handler declares for `data`.

        Raises UnsupportedFormat for another content type, MalformedBody for what is not JSON, InvalidInput
        for values that break the contract.
        """
        require_content_type(self, JSON)
        field = self.route_handler.parsed_data_field
        return decode_json(await self.body(), field.annotation if field else Any)

    async def body(self) -> bytes:
        """The whole body. An empty JSON body counts as a fault: Litestar would call it a missing keyword."""
        body = await super().body()
        if not body and self.route_handler.parsed_data_field is not None:
            raise MalformedBody("the body is empty", field="body", found="nothing", expected="a JSON object")
        return body

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body in parts. What comes with an idempotency key is kept as well, for its hash: a form is
        read before anybody asks for its bytes.
        """
        keep = "idempotency-key" in self.headers and self._body is Empty
        kept: list[bytes] = []
        async for part in super().stream():
            if keep:
                kept.append(part)
            yield part
        if keep:
            self._body = self._connection_state.body = b"".join(kept)


def require_content_type(request: Request[Any, Any, Any], expected: str) -> None:
    """Raise UnsupportedFormat when the body is of another kind."""
    found, _ = request.content_type
    if found != expected:
        raise UnsupportedFormat(
            f"this route takes {expected}",
            field="Content-Type",
            found=found or "nothing",
            expected=expected,
            next_step=f"send the header Content-Type: {expected}",
        )


def decode_json(body: bytes, expected_type: Any) -> Any:
    """Decode strictly. Raises MalformedBody or InvalidInput."""
    try:
        return msgspec.json.decode(body, type=expected_type)
    except msgspec.ValidationError as error:
        raise explain_body(error, expected_type, _plain_values(body)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(body, error) from error


def _plain_values(body: bytes) -> Any:
    """The body as dicts and lists. A body that is broken further on is malformed first of all."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(body, error) from error


def _malformed(body: bytes, error: Exception) -> FootnoteError:
    try:
        body.decode()
    except UnicodeDecodeError as fault:
        return MalformedBody(
            f"the body is not valid UTF-8 at byte {fault.start}",
            field="body",
            found=f"byte 0x{body[fault.start]:02x} at position {fault.start}",
            expected="JSON in UTF-8",
            next_step="encode the text as UTF-8",
        )
    if isinstance(error, RecursionError):
        return InvalidInput(
            "the body is nested too deeply",
            field="body",
            found="too many levels",
            expected="fewer levels of nesting",
        )
    return MalformedBody(
        f"the body is not JSON: {error}",
        field="body",
        found=str(error),
        expected="a JSON object",
    )


def decode_form_json(field: str, text: str, expected_type: Any) -> Any:
    """Decode the JSON in a form field. Raises InvalidInput that names the field."""
    try:
        return msgspec.json.decode(text, type=expected_type)
    except msgspec.DecodeError as error:
        raise InvalidInput(
            f"{field} is not a JSON object: {error}",
            field=field,
            found=str(error),
            expected="a JSON object",
        ) from error
