import random
from itertools import islice

import pytest

from generation.artifact import BUNDLED_DECODER
from generation.decoder import Decoder
from training.siamese.drafts import (
    ASKED_CHARACTERS,
    QuestionWriter,
    from_heading,
    from_sentences,
    read_passage,
)
from training.siamese.term_weights import TermWeights

TEXT = (
    "Sulphur in alloys\n"
    "Nickel alloys corrode in hot gases. We found that sulphur weakens nickel alloys at high temperature. "
    "It is well known. Cracks spread along the grain boundaries of the alloys."
)
WEIGHTS = TermWeights([TEXT, "The castle was built in stone.", "The king of Paris was in the castle."])


@pytest.fixture(scope="module")
def writer() -> QuestionWriter:
    return QuestionWriter(Decoder.load(BUNDLED_DECODER, 1))


def test_sentences_that_lean_on_others_are_left_out() -> None:
    queries = [draft.query for draft in from_sentences(read_passage("a#0", TEXT), WEIGHTS, random.Random(1))]
    assert set(queries) == {
        "Nickel alloys corrode in hot gases",
        "Sulphur weakens nickel alloys at high temperature",
        "Cracks spread along the grain boundaries of the alloys",
    }


def test_half_of_the_sentences_are_taken_out_of_their_passage() -> None:
    passage, rng = read_passage("a#0", TEXT), random.Random(1)
    firsts = [next(from_sentences(passage, WEIGHTS, rng)) for _ in range(60)]
    kept = [draft for draft in firsts if draft.positive == TEXT]
    taken = [draft for draft in firsts if draft.query.casefold() not in draft.positive.casefold()]
    assert len(kept) + len(taken) == 60
    assert 15 < len(taken) < 45
    assert all("Sulphur in alloys" in draft.positive for draft in firsts)


def test_text_without_capital_letters_is_split_at_free_full_stops() -> None:
    text = "lift of wings\nthe lift of thin wings is computed . tests at high speed agree with theory ."
    drafts = from_sentences(read_passage("a", text), WEIGHTS, random.Random(1))
    assert {draft.query for draft in drafts} == {
        "the lift of thin wings is computed",
        "tests at high speed agree with theory",
    }


def test_a_passage_of_one_sentence_has_no_sentence_to_stand_for_it() -> None:
    passage = read_passage("a", "Nickel alloys corrode in hot gases of any kind.")
    assert list(from_sentences(passage, WEIGHTS, random.Random(1))) == []


def test_heading_is_searched_with_and_without_standing_in_the_passage() -> None:
    passage, rng = read_passage("a#0", TEXT), random.Random(1)
    drafts = [draft for _ in range(40) for draft in from_heading(passage, rng)]
    assert {draft.query for draft in drafts} == {"Sulphur in alloys"}
    assert {draft.positive for draft in drafts} == {TEXT, passage.body}
    assert "Sulphur in alloys" not in passage.body


def test_heading_of_the_collection_stands_before_the_first_line() -> None:
    body = "Install the package.\nThen run it once and wait for the prompt."
    passage = read_passage("a#0", body, "Guide > Installing")
    assert (passage.heading, passage.body) == ("Guide > Installing", body)
    titled = read_passage("a#0", f"Installing\n{body}", "Guide > Installing")
    assert (titled.heading, titled.body) == ("Guide > Installing", body)
    assert read_passage("a#0", "one line only").heading == ""
    assert list(from_heading(read_passage("a#0", "one line only"), random.Random(1))) == []


def test_chinese_sentences_are_counted_by_characters() -> None:
    text = "镍合金\n镍合金在高温气体中会被腐蚀。硫会在高温下削弱镍合金的强度。"
    drafts = list(from_sentences(read_passage("a", text), WEIGHTS, random.Random(1)))
    assert {draft.query for draft in drafts} == {"镍合金在高温气体中会被腐蚀", "硫会在高温下削弱镍合金的强度"}


def test_decoder_asks_about_a_passage_of_any_length(writer: QuestionWriter) -> None:
    long = " ".join(f"The old castle number {i} was built by the king of Paris." for i in range(60))
    drafts = list(islice(writer.draft(read_passage("a#0", long), 2, random.Random(1)), 3))
    assert 1 <= len(drafts) <= 2
    assert all(draft.query.endswith("?") and draft.positive == long for draft in drafts)
    assert len(long) > ASKED_CHARACTERS


@pytest.mark.parametrize("text", ["Замок был построен королём Парижа в тысяча восемьсот году.", "-- 12 --"])
def test_decoder_leaves_out_what_it_cannot_read(writer: QuestionWriter, text: str) -> None:
    assert all(each.query for each in writer.draft(read_passage("a#0", text), 2, random.Random(1)))
    if "Замок" in text:
        assert list(writer.draft(read_passage("a#0", text), 2, random.Random(1))) == []
