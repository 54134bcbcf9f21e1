"""What msgspec says about a wrong value, turned into field, found and expected."""

import json
import re
from typing import Any

import msgspec
from msgspec import inspect

from app.http.expectations import describe, field_names, type_at
from embeddings.errors import InvalidInput

_AT_PATH = re.compile(r"^(?P<message>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<position>\d+)\]|\[\.\.\.\]")
_UNKNOWN = re.compile(r"unknown field `(?P<name>.*)`$")
_MISSING = re.compile(r"missing required field `(?P<name>.*)`$")
_GOT = re.compile(r"got `(?P<kind>.*)`$")
_SHOWN_CHARACTERS = 80


def explain_body(error: msgspec.ValidationError, expected_type: Any, value: Any) -> InvalidInput:
    """Turn the first fault in a body into an error that names its field.

    expected_type: what the handler declares; value: the body as plain JSON values.
    """
    message, path = _split(str(error))
    kind = inspect.type_info(expected_type)
    if unknown := _UNKNOWN.search(message):
        return _unknown_field(path, unknown["name"], kind, value)
    if missing := _MISSING.search(message):
        return _missing_field(path, missing["name"], kind)
    expected = describe(type_at(kind, path))
    field = field_name(path) or "body"
    found = _show(_value_at(value, path), message)
    return InvalidInput(
        f"{field}: found {found}, expected {expected}", field=field, found=found, expected=expected
    )


def explain_form(name: str, message: str, expected_type: Any) -> InvalidInput:
    """Turn a fault in a form, whose values are not at hand any more, into an error that names its field.

    name: the field, or "data" for the form itself, as Litestar says it.
    """
    place = "" if name == "data" else f" - at `$.{name}`"
    return explain_body(msgspec.ValidationError(message + place), expected_type, {})


def explain_parameter(name: str, expected_type: Any, found: str | None, message: str) -> InvalidInput:
    """Turn a fault in a query, path or header parameter into an error that names it.

    found: the text that was sent, None when the parameter was absent.
    """
    expected = describe(inspect.type_info(expected_type)) if expected_type is not None else message
    shown = "nothing" if found is None else _shorten(json.dumps(found, ensure_ascii=False))
    return InvalidInput(
        f"{name}: found {shown}, expected {expected}", field=name, found=shown, expected=expected
    )


def field_name(path: list[str | int]) -> str:
    """Write a path as people do: `documents[0].text`."""
    written = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return written.removeprefix(".")


def _unknown_field(path: list[str | int], name: str, kind: inspect.Type, value: Any) -> InvalidInput:
    field = field_name([*path, name])
    sent = _value_at(value, [*path, name])
    found = "an unknown field" if sent is _Absent else f"an unknown field with {_show(sent, '')}"
    owner = type_at(kind, path)
    names = field_names(owner) if isinstance(owner, inspect.StructType) else []
    expected = "one of " + ", ".join(names)
    return InvalidInput(
        f"{field}: this field is not known",
        field=field,
        found=found,
        expected=expected,
        next_step="check the spelling, or remove the field",
    )


def _missing_field(path: list[str | int], name: str, kind: inspect.Type) -> InvalidInput:
    field = field_name([*path, name])
    expected = describe(type_at(kind, [*path, name]))
    return InvalidInput(
        f"{field}: this field is required",
        field=field,
        found="nothing",
        expected=expected,
        next_step=f"add {field}",
    )


def _split(text: str) -> tuple[str, list[str | int]]:
    parts = _AT_PATH.match(text)
    if parts is None:  # the pattern takes any text
        return text, []
    steps: list[str | int] = []
    for step in _STEP.finditer(parts["path"] or ""):
        if step["name"] is not None:
            steps.append(step["name"])
        elif step["position"] is not None:
            steps.append(int(step["position"]))
        else:
            break  # msgspec hides the key of a free object behind [...]
    return parts["message"], steps


class _Absent:
    """Stands for a place that the body does not have."""


def _value_at(value: Any, path: list[str | int]) -> Any:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return _Absent
    return value


def _show(value: Any, message: str) -> str:
    """A short picture of the value: the JSON text itself, or its kind and size when it is long."""
    if value is _Absent:
        got = _GOT.search(message)
        return got["kind"] if got else "nothing"
    if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS:
        return f"text of {len(value)} characters"
    if isinstance(value, list) and len(value) > 3:
        return f"a list of {len(value)} items"
    if isinstance(value, dict) and len(value) > 3:
        return f"an object with {len(value)} fields"
    return _shorten(json.dumps(value, ensure_ascii=False, default=lambda other: type(other).__name__))


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
