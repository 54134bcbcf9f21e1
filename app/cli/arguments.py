"""Options that several commands share, and how their values are read."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from embeddings.errors import InvalidInput

if TYPE_CHECKING:
    from retrieval.types import Fusion

Mode = Literal["hybrid", "dense", "lexical"]

CollectionOption = Annotated[str, typer.Option("--collection", "-c", help="Name of the collection.")]
ModeOption = Annotated[Mode, typer.Option("--mode", help="By meaning and words, by meaning, by words.")]
FilterOption = Annotated[
    str | None,
    typer.Option("--filter", help='Metadata filter as JSON: {"year": {"$gte": 2020}}'),
]
FusionOption = Annotated[
    str | None,
    typer.Option("--fusion", help='A method or JSON: rrf, or {"method": "convex", "alpha": 0.3}'),
]


def parse_fusion_option(text: str | None) -> "Fusion | None":
    """Read `--fusion`; the search checks its figures. Raises InvalidInput for another form."""
    import msgspec

    from app.http.search_schemas import FusionFields

    if text is None:
        return None
    try:
        given = json.loads(text) if text.lstrip().startswith("{") else {"method": text}
        return msgspec.convert(given, FusionFields).to_fusion()
    except (json.JSONDecodeError, msgspec.ValidationError) as error:
        expected = 'evidence, rrf, convex, or JSON such as {"method": "rrf", "k": 60}'
        raise InvalidInput(
            f"--fusion: {error}; expected {expected}", field="--fusion", found=text, expected=expected
        ) from error


def parse_filter_option(text: str | None) -> object | None:
    """Read `--filter`; the search checks what it means. Raises InvalidInput when it is not JSON."""
    if text is None:
        return None
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(
            f"--filter is not JSON: {error}",
            field="--filter",
            found=text,
            expected='a JSON object such as {"year": {"$gte": 2020}}',
            next_step="put the filter in single quotes, so that the shell leaves its double quotes alone",
        ) from error
    return value


def parse_metadata(pairs: Sequence[str]) -> dict[str, Any]:
    """Read `--metadata key=value` options; a value that reads as JSON is JSON, any other is text.

    Raises InvalidInput for an option without a key or an equals sign, and for a key given twice.
    """
    metadata: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise InvalidInput(
                f"--metadata {pair!r} has no key and value",
                field="--metadata",
                found=pair,
                expected="key=value, for example year=2024",
            )
        if key in metadata:
            raise InvalidInput(
                f"--metadata gives {key!r} twice", field="--metadata", found=pair, expected="each key once"
            )
        metadata[key] = _json_or_text(value)
    return metadata


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value, parse_constant=_refuse_constant)
    except ValueError:
        return value


def _refuse_constant(name: str) -> None:
    """NaN and Infinity are Python's extension of JSON: keep them as text."""
    raise ValueError(name)
