"""One request to the service, before it is sent."""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

T = TypeVar("T")

JSON = "application/json"
EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class File:
    """A file to add. name: becomes the document's id; content: the bytes, or their place on this machine."""

    name: str
    content: bytes | Path
    media_type: str = "application/octet-stream"  # which the service reads as: find out yourself

    @classmethod
    def at(cls, path: str | Path) -> "File":
        """The file at a path, under its own name."""
        return cls(Path(path).name, Path(path))

    def part(self, opened: ExitStack) -> tuple[str, IO[bytes] | bytes, str]:
        """As httpx takes it; opened: closes the file after it was sent."""
        if isinstance(self.content, bytes):
            return self.name, self.content, self.media_type
        return self.name, opened.enter_context(self.content.open("rb")), self.media_type


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart body: files, and fields beside them."""

    files: Sequence[File]
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request and the type of its reply.

    path: percent-encoded; reply: what the JSON is read as; bytes: the body as it is; NoneType: nothing.
    query: None is left out. keyed: the route knows Idempotency-Key, so it may be sent again under its key.
    """

    method: str
    path: str
    reply: type[T]
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    form: Form | None = None
    keyed: bool = False
    accept: str = JSON

    @property
    def repeatable(self) -> bool:
        """Whether it does no harm to send it again when nobody knows if it arrived."""
        return self.keyed or self.method == "GET"

    def headers(self) -> dict[str, str]:
        """Headers of this call; a keyed one draws its key here, once for all attempts."""
        headers = {"Accept": self.accept}
        if self.body is not None:
            headers["Content-Type"] = JSON
        if self.keyed:
            headers["Idempotency-Key"] = str(uuid.uuid4())
        return headers

    def content(self, opened: ExitStack) -> dict[str, Any]:
        """The body as httpx takes it. opened: closes the files of a form after they were sent."""
        if self.form is not None:
            parts = [("file", file.part(opened)) for file in self.form.files]
            return {"files": parts, "data": dict(self.form.fields)}
        return {} if self.body is None else {"content": msgspec.json.encode(self.body)}

    def wanted(self) -> dict[str, Any]:
        """The query without what was left out."""
        return {name: value for name, value in self.query.items() if value is not None}

    def read(self, body: bytes) -> T:
        """The reply in its type. Raises msgspec.ValidationError when it is something else."""
        if self.reply is bytes or self.reply is type(None):
            return body if self.reply is bytes else None  # type: ignore[return-value]
        return msgspec.json.decode(body, type=self.reply)


def given(**fields: Any) -> dict[str, Any]:
    """The fields of a body that the caller gave; the service knows the defaults of the others."""
    return {name: value for name, value in fields.items() if value is not None}


def segment(text: str) -> str:
    """A name or an id as one segment of a path: slashes and dots too, which httpx would else resolve."""
    return quote(text, safe="").replace(".", "%2E")
