import pytest

from training.siamese.claims import claim, count_words, spoken_name, telling_sentences
from training.siamese.term_weights import TermWeights


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (
            "These results suggest that sulphur weakens alloys under load.",
            "Sulphur weakens alloys under load",
        ),
        ("However, we have also shown that low doses do no harm.", "Low doses do no harm"),
        ("In conclusion, nickel (Ni, 28) is attacked by hot gases.", "Nickel is attacked by hot gases"),
        (
            "RESULTS The mean pressure rose over the whole range.",
            "The mean pressure rose over the whole range",
        ),
        ("it is found that the lift grows with speed .", "the lift grows with speed"),
        ("We found that it works.", "We found that it works"),  # too little would be left
        ("Sulphur weakens nickel.", "Sulphur weakens nickel"),
    ],
)
def test_claim_is_what_a_sentence_states(sentence: str, expected: str) -> None:
    assert claim(sentence) == expected


def test_words_are_counted_with_and_without_spaces() -> None:
    assert count_words("硫会 weaken it") == 4
    assert count_words("snake_case, 3.5 %") == 4


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("Corrosion of nickel .", "Corrosion of nickel"),
        ("def read_file(self, filePath):", "read file file path"),
        ("Tests (see below)", "Tests (see below)"),
    ],
)
def test_names_of_source_code_are_spoken(heading: str, expected: str) -> None:
    assert spoken_name(heading) == expected


def test_sentence_with_the_words_of_the_passage_comes_first() -> None:
    text = "Rain fell on the day of the fair. Sulphur weakens nickel alloys. Nickel alloys need no sulphur."
    weights = TermWeights([text, *(f"Rain fell on day {i}" for i in range(9))])
    assert telling_sentences(text, weights)[-1] == "Rain fell on the day of the fair."


def test_comments_speak_for_source_code() -> None:
    code = '''def to_local(dt, zone=None):
    """Turn a date into the local time zone.

    :param dt: the date
    """
    if dt.tzinfo is UTC:  # summer time is left as it is
        return dt.replace(tzinfo=None).astimezone(zone)
    return [each for each in (dt, zone) if each]
'''
    found = telling_sentences(code, TermWeights([code]))
    assert set(found) == {"Turn a date into the local time zone.", "summer time is left as it is"}
    assert all(sentence in code for sentence in found)
