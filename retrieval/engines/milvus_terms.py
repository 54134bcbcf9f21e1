"""A document's metadata as Milvus stores it, so that a filter means there what it means here.

Milvus has a JSON type, but its comparisons differ from ours and from server to server: lists match nothing,
or true equals 1, or a missing field makes `not` unknown. So each row carries three fields of our own:

    terms    hashes of what can be said of it: field exists, field holds this value; only membership is asked
    bounds   the least and the greatest number and text of each field, since "any element is above x" means
             "the greatest is above x"
    rest     the metadata itself, in pieces of JSON, only where terms and bounds do not tell everything
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from retrieval.filters import MISSING, field_value

# Beyond these a row is checked by hand: its `terms` then hold UNTOLD.
MAX_PATHS: Final = 200
MAX_TERMS: Final = 1_024
MAX_BOUNDS_BYTES: Final = 60_000  # Milvus takes 65,536 bytes of JSON
MAX_BOUND_CHARS: Final = 200  # of a text that is compared for order; up to 800 bytes
MAX_WHOLE: Final = 2**53  # whole numbers up to it are doubles, too
PIECE_CHARS: Final = 16_000  # at most 64,000 bytes; Milvus takes 65,535
MAX_PIECES: Final = 8
UNTOLD: Final = 0
NEVER: Final = 1  # the term of no row


@dataclass(frozen=True, slots=True)
class Stored:
    """The three fields of a row."""

    terms: list[int]
    bounds: dict[str, float | str]
    rest: list[str]


def stored_metadata(metadata: Mapping[str, Any]) -> Stored:
    """What is stored for a document's metadata."""
    terms: set[int] = set()
    bounds: dict[str, float | str] = {}
    paths = list(_first(_paths(metadata), MAX_PATHS + 1))
    for path in paths[:MAX_PATHS]:
        _add_field(path, field_value(metadata, path), terms, bounds)
    if len(paths) > MAX_PATHS or len(terms) > MAX_TERMS - 1 or _size_bytes(bounds) > MAX_BOUNDS_BYTES:
        return Stored([UNTOLD], {}, _pieces(metadata))
    inexact = any(exactness(path) in terms for path in paths)
    return Stored(sorted(terms), bounds, _pieces(metadata) if inexact else [])


def existence(path: str) -> int:
    """The term of a row that has the field."""
    return _term("exists", path)


def numbers(path: str) -> int:
    """The term of a row whose field holds a number."""
    return _term("numbers", path)


def texts(path: str) -> int:
    """The term of a row whose field holds a string."""
    return _term("texts", path)


def exactness(path: str) -> int:
    """The term of a row whose bounds do not tell everything about the field."""
    return _term("inexact", path)


def equality(path: str, value: Any) -> int:
    """The term of a row whose field holds this scalar; equal scalars have one term."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _term("equals", path, type(value).__name__, str(value))


def bound(path: str, side: str) -> str:
    """The key of a bound. side: `<` or `>` of its numbers, `[` or `]` of its texts (least, greatest)."""
    names = {"<": "a", ">": "b", "[": "c", "]": "d"}
    return names[side] + blake2b(_bytes(path), digest_size=6).hexdigest()


def metadata_of(rest: Sequence[str]) -> dict[str, Any]:
    """The metadata that a row carries in pieces."""
    return dict(json.loads("".join(rest)))


def _term(*parts: str) -> int:
    digest = blake2b(b"\0".join(map(_bytes, parts)), digest_size=8).digest()
    term = int.from_bytes(digest, "little") >> 1  # Milvus Lite reads no negative number in a list
    return 2 if term in (UNTOLD, NEVER) else term


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _first(paths: Iterator[str], count: int) -> Iterator[str]:
    seen: set[str] = set()
    for path in paths:
        if path not in seen:
            yield path
            seen.add(path)
        if len(seen) == count:
            return


def _paths(value: Any) -> Iterator[str]:
    """Every path that a filter could ask for, some of them more than once."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from (f"{key}.{path}" for path in _paths(inner))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item) if isinstance(item, Mapping) else ()


def _add_field(path: str, value: Any, terms: set[int], bounds: dict[str, float | str]) -> None:
    if value is MISSING:
        return
    elements = value if isinstance(value, list | tuple) else (value,)
    terms.add(existence(path))
    terms.update(equality(path, e) for e in elements if e is None or isinstance(e, str | int | float))
    _add_numbers(
        path, [e for e in elements if isinstance(e, int | float) and not isinstance(e, bool)], terms, bounds
    )
    _add_texts(path, [e for e in elements if isinstance(e, str)], terms, bounds)


def _add_numbers(
    path: str, found: list[int | float], terms: set[int], bounds: dict[str, float | str]
) -> None:
    if not found:
        return
    terms.add(numbers(path))
    if all(math.isfinite(e) and (isinstance(e, float) or abs(e) <= MAX_WHOLE) for e in found):
        bounds[bound(path, "<")], bounds[bound(path, ">")] = float(min(found)), float(max(found))
    else:
        terms.add(exactness(path))


def _add_texts(path: str, found: list[str], terms: set[int], bounds: dict[str, float | str]) -> None:
    if not found:
        return
    terms.add(texts(path))
    least, greatest = min(found), max(found)
    if max(len(least), len(greatest)) <= MAX_BOUND_CHARS:
        bounds[bound(path, "[")], bounds[bound(path, "]")] = least, greatest
    else:
        terms.add(exactness(path))


def _size_bytes(bounds: Mapping[str, float | str]) -> int:
    return len(json.dumps(bounds, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _pieces(metadata: Mapping[str, Any]) -> list[str]:
    text = json.dumps(metadata, ensure_ascii=False)
    return [text[start : start + PIECE_CHARS] for start in range(0, len(text), PIECE_CHARS)]
