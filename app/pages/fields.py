"""Values of form fields, which browsers send as text: an empty one means that nothing was chosen."""

import json
from enum import StrEnum
from typing import Any, TypeVar

from embeddings.errors import InvalidInput

Choice = TypeVar("Choice", bound=StrEnum)


def chosen_of(choices: type[Choice], field: str, text: str | None) -> Choice | None:
    """One of the choices; None for an empty field. Raises InvalidInput."""
    if not text:
        return None
    try:
        return choices(text)
    except ValueError:
        raise _not_a("one of " + ", ".join(choices), field, text) from None


def optional_int(field: str, text: str | None) -> int | None:
    """A whole number; None for an empty field. Raises InvalidInput."""
    if not (text or "").strip():
        return None
    try:
        return int(str(text).replace(" ", ""))
    except ValueError:
        raise _not_a("a whole number", field, str(text)) from None


def optional_float(field: str, text: str | None) -> float | None:
    """A number, with a point or, as in Russian, a comma; None for an empty field. Raises InvalidInput."""
    if not (text or "").strip():
        return None
    try:
        return float(str(text).strip().replace(",", "."))
    except ValueError:
        raise _not_a("a number", field, str(text)) from None


def json_object(field: str, text: str | None) -> dict[str, Any]:
    """A JSON object; an empty one for an empty field. Raises InvalidInput."""
    if not (text or "").strip():
        return {}
    try:
        value = json.loads(str(text))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise _not_a("a JSON object", field, str(text))
    return value


def _not_a(expected: str, field: str, found: str) -> InvalidInput:
    return InvalidInput(
        f"{field} is {found[:80]!r}; expected {expected}",
        field=field,
        found=repr(found[:80]),
        expected=expected,
    )
