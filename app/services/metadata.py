"""What a client may say about a document: its id, title and metadata."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any
from unicodedata import category

from embeddings.errors import InvalidInput, TooLarge

MAX_ID_CHARS = 512
MAX_TITLE_CHARS = 1000
MAX_METADATA_DEPTH = 8
MAX_METADATA_BYTES = 64 * 1024
MAX_INTEGER = 2**63 - 1
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def check_id(document_id: str) -> str:
    """The id, if it can stand in a URL and in a listing. Raises InvalidInput."""
    expected = f"1 to {MAX_ID_CHARS} characters, no control characters, no spaces at either end"
    controls = any(category(character) in ("Cc", "Cs") for character in document_id)
    if controls or not 0 < len(document_id) <= MAX_ID_CHARS or document_id != document_id.strip():
        found = repr(document_id[:80])
        raise InvalidInput(
            f"the id {found} is not allowed; expected {expected}", field="id", found=found, expected=expected
        )
    return document_id


def check_text(text: str, field: str) -> str:
    """The text, if it can be stored to the letter. Raises InvalidInput.

    UTF-8 can't carry half of a surrogate pair, and SQLite's own text functions stop at NUL.
    """
    if match := _UNSTORABLE.search(text):
        found = f"U+{ord(match[0]):04X} at code point {match.start()}"
        raise InvalidInput(
            f"{field} holds a character that cannot be stored: {found}",
            field=field,
            found=found,
            expected="text without NUL and without halves of surrogate pairs",
        )
    return text


def check_title(title: str | None) -> str | None:
    """The title without spaces at its ends; None for an empty one. Raises InvalidInput."""
    if title is None or not title.strip():
        return None
    if len(title) > MAX_TITLE_CHARS:
        raise InvalidInput(
            f"the title has {len(title)} characters; expected at most {MAX_TITLE_CHARS}",
            field="title",
            found=f"{len(title)} characters",
            expected=f"at most {MAX_TITLE_CHARS}",
        )
    return check_text(title.strip(), "title")


def check_metadata(metadata: object) -> dict[str, Any]:
    """The metadata, if it is a JSON object within bounds. Raises InvalidInput, TooLarge."""
    if not isinstance(metadata, Mapping):
        raise _invalid("metadata", type(metadata).__name__, "a JSON object")
    _check_value(metadata, "metadata", 1)
    size_bytes = len(json.dumps(metadata, ensure_ascii=False, default=dict).encode())
    if size_bytes > MAX_METADATA_BYTES:
        raise TooLarge(
            f"the metadata has {size_bytes} bytes; expected at most {MAX_METADATA_BYTES}",
            field="metadata",
            found=f"{size_bytes} bytes",
            expected=f"at most {MAX_METADATA_BYTES} bytes of JSON",
            next_step="put long texts into the document's text",
        )
    return dict(metadata)


def _check_value(value: object, path: str, depth: int) -> None:
    if depth > MAX_METADATA_DEPTH:
        raise _invalid(path, "deeper nesting", f"at most {MAX_METADATA_DEPTH} levels")
    match value:
        case Mapping():
            for key, inner in value.items():
                if not isinstance(key, str) or not key or key.startswith("$"):
                    raise _invalid(
                        path, f"the key {key!r}", "keys that are not empty and do not start with $"
                    )
                check_text(key, path)
                _check_value(inner, f"{path}.{key}", depth + 1)
        case list() | tuple():
            for position, inner in enumerate(value):
                _check_value(inner, f"{path}[{position}]", depth + 1)
        case _:
            _check_scalar(value, path)


def _check_scalar(value: object, path: str) -> None:
    match value:
        case None | bool():
            pass
        case str():
            check_text(value, path)
        case int() if abs(value) > MAX_INTEGER:
            raise _invalid(path, "a whole number beyond 64 bits", "a number within 64 bits, or a string")
        case float() if not math.isfinite(value):
            raise _invalid(path, str(value), "a finite number")
        case int() | float():
            pass
        case _:
            raise _invalid(path, type(value).__name__, "a JSON value")


def _invalid(path: str, found: str, expected: str) -> InvalidInput:
    return InvalidInput(
        f"{path}: found {found}; expected {expected}", field=path, found=found, expected=expected
    )
