"""What the options of the command line mean."""

import pytest

from app.cli.arguments import parse_filter_option, parse_metadata
from app.cli.failures import describe, exit_code
from app.cli.output import one_line, printable
from embeddings.errors import Conflict, FootnoteError, InvalidInput, ModelDamaged, NotFound, Unreadable


def test_metadata_values_that_read_as_json_are_json() -> None:
    pairs = ["year=2024", "draft=true", "tags=[1, 2]", "team=search", "note=", "url=a=b", "ratio=NaN"]
    assert parse_metadata(pairs) == {
        "year": 2024,
        "draft": True,
        "tags": [1, 2],
        "team": "search",
        "note": "",
        "url": "a=b",
        "ratio": "NaN",
    }


@pytest.mark.parametrize("pair", ["year", "=2024", ""])
def test_metadata_without_key_and_value_is_refused(pair: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_metadata([pair])
    assert (caught.value.field, caught.value.found) == ("--metadata", pair)


def test_metadata_key_given_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="twice"):
        parse_metadata(["year=1", "year=2"])


def test_filter_is_read_as_json() -> None:
    assert parse_filter_option('{"year": {"$gte": 2020}}') == {"year": {"$gte": 2020}}
    assert parse_filter_option(None) is None


def test_filter_that_is_not_json_says_what_was_found() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_filter_option("{year: 2020}")
    assert caught.value.found == "{year: 2020}"


def test_failure_is_described_line_by_line() -> None:
    error = InvalidInput(
        "limit is 0", field="limit", found="0", expected="1 to 1000", next_step="ask for more"
    )
    assert describe(error).splitlines() == [
        "error: limit is 0",
        "  field:    limit",
        "  found:    0",
        "  expected: 1 to 1000",
        "  next:     ask for more",
    ]
    assert describe(FootnoteError("plain")) == "error: plain"


@pytest.mark.parametrize(
    ("kind", "code"), [(InvalidInput, 2), (NotFound, 2), (Conflict, 2), (ModelDamaged, 1), (Unreadable, 1)]
)
def test_exit_code_tells_bad_input_from_failure(kind: type[FootnoteError], code: int) -> None:
    assert exit_code(kind("m")) == code


def test_escape_sequences_of_a_document_do_not_reach_the_terminal() -> None:
    assert (
        printable("a\x1b[31mred\x9b0m\tb\nc")
        == "a\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}0m\tb\nc"
    )


def test_long_text_is_cut_to_one_line() -> None:
    assert one_line("first\n  second", 80) == "first second"
    assert one_line("abcdef", 4) == "abc…"


def test_name_that_is_no_unicode_can_be_shown() -> None:
    assert printable("caf\udce9.txt") == "caf\N{REPLACEMENT CHARACTER}.txt"
