"""What of the documents' metadata the points of a map can be coloured by."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.db.mapping import MappedDocument
from embeddings.errors import InvalidInput

# Fields that are offered, and values of one that get a colour of their own: more are not told apart.
MAX_FIELDS = 40
MAX_LABELS = 10
# In place of the number of a value: it is a rarer one.
OTHER = -1
# So many different numbers are a scale; fewer are labels, such as chapters or grades.
MIN_SCALE = 8


@dataclass(frozen=True, slots=True)
class FieldValues:
    """One field of all documents of a map, in their order.

    kind: number, then `of` holds the numbers; or label, then places among `labels`, the commonest first, or
    OTHER. None where a document lacks the field.
    """

    field: str
    kind: Literal["label", "number"]
    labels: tuple[str, ...]
    of: tuple[float | None, ...]


def field_names(documents: Sequence[MappedDocument]) -> tuple[str, ...]:
    """The fields by which documents differ, those that most of them have first."""
    held: Counter[str] = Counter()
    seen: dict[str, set[object]] = {}
    for document in documents:
        for field, value in document.metadata.items():
            if (told := _scalar(value)) is not None:
                held[field] += 1
                seen.setdefault(field, set()).add(told)
    telling = [
        field for field, _ in held.most_common() if len(seen[field]) > 1 or held[field] < len(documents)
    ]
    return tuple(telling[:MAX_FIELDS])


def field_values(documents: Sequence[MappedDocument], field: str) -> FieldValues:
    """The values of a field. Raises InvalidInput when no document has one."""
    values = [_scalar(document.metadata.get(field)) for document in documents]
    given = [value for value in values if value is not None]
    if not given:
        raise InvalidInput(
            f"no document on this map has the metadata field {field!r:.80}",
            field="field",
            found=field[:80],
            expected=", ".join(field_names(documents)[:10]) or "no field: the documents have none",
        )
    if all(isinstance(value, float) for value in given) and len(set(given)) >= MIN_SCALE:
        return FieldValues(field, "number", (), tuple(v if isinstance(v, float) else None for v in values))
    texts = [None if value is None else _text(value) for value in values]
    common = [text for text, _ in Counter(text for text in texts if text is not None).most_common(MAX_LABELS)]
    places = {text: place for place, text in enumerate(common)}
    return FieldValues(
        field, "label", tuple(common), tuple(None if t is None else places.get(t, OTHER) for t in texts)
    )


def _scalar(value: Any) -> str | bool | float | None:
    """The value, of a list its first; None for what cannot be a colour."""
    match value:
        case list() | tuple():
            return _scalar(value[0]) if value else None
        case bool():
            return value
        case int() | float():
            return float(value)
        case str() if value.strip():
            return value.strip()[:60]
    return None


def _text(value: str | bool | float) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
    return value
