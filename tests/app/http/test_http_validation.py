from enum import StrEnum
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct

from app.http.request import decode_json
from embeddings.errors import InvalidInput


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Leaf(Struct, forbid_unknown_fields=True):
    size: Annotated[int, Meta(ge=1, le=9)] = 1
    names: Annotated[list[Annotated[str, Meta(min_length=2)]], Meta(max_length=2)] = []


class Plant(Struct, forbid_unknown_fields=True):
    leaves: list[Leaf]
    colour: Colour | None = None
    share: Annotated[float, Meta(gt=0, le=1)] = 1.0
    wet: bool = False
    extra: dict[str, int] | None = None


@pytest.mark.parametrize(
    ("body", "field", "found", "expected"),
    [
        ({}, "leaves", "nothing", "a list"),
        ({"leaves": 1}, "leaves", "1", "a list"),
        ({"leaves": [{"size": 0}]}, "leaves[0].size", "0", "a whole number from 1 to 9"),
        ({"leaves": [{}, {"size": "2"}]}, "leaves[1].size", '"2"', "a whole number from 1 to 9"),
        ({"leaves": [{"names": ["a"]}]}, "leaves[0].names[0]", '"a"', "text of at least 2 characters"),
        (
            {"leaves": [{"names": ["aa", "bb", "cc", "dd"]}]},
            "leaves[0].names",
            "a list of 4 items",
            "a list of at most 2 items",
        ),
        ({"leaves": [{"sise": 1}]}, "leaves[0].sise", "an unknown field with 1", "one of size, names"),
        ({"leaves": [], "colour": "green"}, "colour", '"green"', "one of red, blue"),
        ({"leaves": [], "share": 0}, "share", "0", "a number from above 0 to 1"),
        ({"leaves": [], "wet": "yes"}, "wet", '"yes"', "true or false"),
        ({"leaves": [], "extra": {"a": "b"}}, "extra", '{"a": "b"}', "an object"),
        ([], "body", "[]", "an object with leaves, colour, share, wet, extra"),
    ],
)
def test_fault_is_told_in_words(body: Any, field: str, found: str, expected: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_json(msgspec.json.encode(body), Plant)
    assert (caught.value.field, caught.value.found, caught.value.expected) == (field, found, expected)


def test_long_value_is_told_by_its_size() -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_json(msgspec.json.encode({"leaves": "x" * 5000}), Plant)
    assert caught.value.found == "text of 5000 characters"
