import json
from dataclasses import asdict

import msgspec
import numpy as np
import pytest

from embeddings.errors import InvalidInput
from tests.training.siamese.text_fixtures import by_words
from training.siamese import near_texts
from training.siamese.cleaning import clean
from training.siamese.near_texts import leaders
from training.siamese.plan import Cleaning
from training.siamese.texts import without_markup
from training.siamese.types import LabelledText, Pair, ScoredPair, TrainingData

PASSAGE = "A shift takes eight hours, with two breaks of fifteen minutes between them."
SETTINGS = Cleaning()


def pair(query="how long is a shift", positive=PASSAGE, **more):
    return Pair(query, positive, "d", **more)


def cleaned(*pairs, corpus=None, **settings):
    data = TrainingData(pairs=pairs, corpus=corpus or {})
    return clean(data, msgspec.structs.replace(SETTINGS, **settings), by_words)


def reasons(report):
    return {removal.reason: removal.count for removal in report.removed}


def test_sound_examples_stay_as_they_are():
    data = TrainingData(
        pairs=(pair(), pair("who pays the wages here", PASSAGE + " And so on.")),
        scored=(ScoredPair("a man sings", "a man sings", 1.0, "g"),),
        labelled=(LabelledText("lost my card", "card"),),
        corpus={"d": PASSAGE},
    )
    result, report = clean(data, SETTINGS, by_words)
    assert result == data
    assert (report.kept, report.altered, report.removed) == (4, 0, ())


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (pair(""), "empty"),
        (pair(positive="<div><p> </p></div>"), "empty"),
        (pair("ab"), "too short"),
        (pair(positive="Eight hours."), "too short"),
        (pair("why " * 600), "too long"),
        (pair(PASSAGE.upper()), "query equals its passage"),
    ],
)
def test_what_teaches_nothing_goes_with_its_reason(bad, reason):
    result, report = cleaned(pair("who pays the wages here"), bad)
    assert [each.query for each in result.pairs] == ["who pays the wages here"]
    assert reasons(report) == {reason: 1}


def test_the_report_shows_three_examples_of_many_and_is_json():
    _, report = cleaned(*(pair(f"{letter}") for letter in "abcdef"))
    assert report.removed[0].count == 6
    assert len(report.removed[0].examples) == 3
    assert report.removed[0].examples[0].startswith("a → A shift")
    assert json.loads(json.dumps(asdict(report)))["kept"] == 0


def test_markup_goes_and_the_text_stays():
    result, report = cleaned(pair("how <b>long</b> is<br>it", f"<p>{PASSAGE}</p><script>run()</script>"))
    assert result.pairs == (pair("how long is\nit", PASSAGE),)
    assert report.altered == 1


def test_text_of_the_collection_stays_as_it_is_searched():
    markup = f"<p>{PASSAGE}</p>"
    result, report = cleaned(pair(positive=markup), corpus={"d": markup})
    assert result.pairs[0].positive == markup
    assert report.altered == 0


@pytest.mark.parametrize(
    "text", ["Map<A> x; List<B> y", "a < b and b > c", "what is the <br> tag", "x <y> z"]
)
def test_what_only_looks_like_markup_stays(text):
    assert without_markup(text) == text


def test_equal_pairs_go_once_and_their_negatives_stay():
    first, second = (
        pair(negatives=("one negative",)),
        pair("How long is  a shift", negatives=("another one",)),
    )
    result, report = cleaned(first, second)
    assert result.pairs == (pair(negatives=("one negative", "another one")),)
    assert reasons(report) == {"exact duplicate": 1}


def test_a_query_may_have_several_passages_and_a_passage_several_queries():
    other = "Wages are paid by the client at the end of each month of the contract."
    pairs = (pair(), pair(positive=other), pair("who pays the wages here"))
    assert cleaned(*pairs)[0].pairs == pairs


def test_nearly_equal_pairs_go_only_when_both_sides_are_near():
    query = "how long does one shift of a nurse take in this hospital on a usual working day"
    near_query, near_passage = query + " now", PASSAGE + " So."
    other = "Wages are paid by the client at the end of each month of the contract."
    both, one_side = pair(near_query, near_passage), pair(near_query, other)
    result, report = cleaned(pair(query), both, one_side, near_duplicates=0.9)
    assert result.pairs == (pair(query), one_side)
    assert reasons(report) == {"near duplicate": 1}


def test_texts_with_other_numbers_are_no_duplicates():
    query = "how high was the tax on the income of a household of four people in the year"
    pairs = pair(query + " 2019"), pair(query + " 2020")
    assert cleaned(*pairs, near_duplicates=0.8)[0].pairs == pairs


def test_passages_are_encoded_only_where_queries_do_not_tell_pairs_apart():
    asked = []

    def encode(texts, role):
        asked.extend((role, text) for text in texts)
        return by_words(texts, role)

    shared = "how long is a shift"
    pairs = pair(shared), pair(shared, PASSAGE + " And more than that."), pair("who pays", "Z" * 30)
    clean(TrainingData(pairs=pairs), SETTINGS, encode)
    assert ("passage", PASSAGE) in asked
    assert ("passage", "Z" * 30) not in asked


def test_near_texts_of_different_labels_stay_and_equal_ones_contradict():
    text = "my card did not arrive in the post although two weeks have passed since then"
    labelled = (
        LabelledText(text, "arrival"),
        LabelledText(text + " please", "arrival"),
        LabelledText(text + " thanks", "delivery"),
        LabelledText("top up", "a"),
        LabelledText("Top up", "b"),
    )
    settings = msgspec.structs.replace(SETTINGS, near_duplicates=0.9)
    result, report = clean(TrainingData(labelled=labelled), settings, by_words)
    assert result.labelled == (labelled[0], labelled[2])
    assert reasons(report) == {"one text under several labels": 2, "near duplicate": 1}


def test_negatives_that_are_right_answers_go():
    other = "Wages are paid by the client at the end of each month of the contract."
    result, _ = cleaned(pair(negatives=(other, "wrong", " ")), pair(positive=other, negatives=(PASSAGE,)))
    assert [each.negatives for each in result.pairs] == [("wrong",), ()]


def test_wrong_languages_go_and_short_texts_that_do_not_tell_theirs_stay():
    german = "Eine Schicht dauert acht Stunden, mit zwei Pausen von je fünfzehn Minuten dazwischen."
    russian = "Смена длится восемь часов с двумя перерывами."
    pairs = pair(), pair("API"), pair(positive=german), pair(positive=russian)
    result, report = cleaned(*pairs, languages=("en",))
    assert result.pairs == pairs[:2]
    assert reasons(report) == {"wrong language": 2}
    assert len(cleaned(*pairs, languages=("en", "de", "ru"))[0].pairs) == 4


def test_an_unknown_language_is_refused():
    with pytest.raises(InvalidInput, match="xx"):
        cleaned(pair(), languages=("en", "xx"))


def test_leaders_are_the_first_of_what_is_near_across_blocks(monkeypatch):
    monkeypatch.setattr(near_texts, "_BLOCK", 4)
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(6, 32)).astype(np.float32)
    places = rng.integers(6, size=50)
    vectors = centres[places] + 0.01 * rng.normal(size=(50, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = [int(np.flatnonzero(places == place)[0]) for place in places]
    assert leaders(vectors, 0.95).tolist() == expected
