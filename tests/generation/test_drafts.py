import re

import pytest

from generation.drafts import answer_from_draft
from generation.types import Answer, AnswerStatus, Draft, PromptReport, Source

WAR = "The Seven Years War began in 1756. It lasted 7 years. It ended with two treaties."
GARDEN = "Tomatoes are planted in May. Water them daily. The soil must be warm."
CHINESE = "番茄在五月种植。每天要浇水。土壤必须温暖。"
RUSSIAN = "Томаты сажают в мае. Поливать их нужно каждый день."
PROMPT = PromptReport("mine", passages=2, examples=0)


def answer(written: str, *texts: str, grounded: bool = False, finish: str = "stop") -> Answer:
    """What becomes of a text with marks, each of one digit, without space before them."""
    text, marks = "", []
    for part in re.split(r"(\[\d\])", written):
        if re.fullmatch(r"\[\d\]", part):
            marks.append((len(text), int(part[1])))
        else:
            text += part
    draft = Draft(text, tuple(marks), grounded, 0.8, 7, 90, finish, PROMPT)  # type: ignore[arg-type]
    sources = [Source(f"doc-{n}", 1, 100, 100 + len(each), each) for n, each in enumerate(texts, start=1)]
    found = answer_from_draft(draft, sources, "tiny")
    for citation in found.citations:
        source = next(each for each in sources if each.document_id == citation.document_id)
        assert source.text[citation.start - 100 : citation.end - 100] == citation.quote
    return found


def cited(found: Answer) -> list[tuple[str, list[str]]]:
    """The sentences, with document and quote of each citation."""
    quotes = {each.number: f"{each.document_id}: {each.quote}" for each in found.citations}
    return [(each.text, [quotes[number] for number in each.citations]) for each in found.sentences]


def test_a_sentence_is_cited_from_the_passage_that_it_names() -> None:
    found = answer("Water them daily.[2] It lasted 7 years[1].", GARDEN, f"Water them daily. {WAR}")
    assert cited(found) == [
        ("Water them daily.", ["doc-2: Water them daily."]),
        ("It lasted 7 years.", ["doc-2: It lasted 7 years."]),
    ]
    assert found.status is AnswerStatus.ANSWERED
    assert found.text == "Water them daily. It lasted 7 years."
    assert (found.confidence, found.tokens, found.prompt_tokens, found.prompt) == (0.8, 7, 90, PROMPT)


def test_a_sentence_without_a_mark_is_cited_where_its_words_stand() -> None:
    assert cited(answer("The soil must be WARM", WAR, GARDEN)) == [
        ("The soil must be WARM", ["doc-2: The soil must be warm"])
    ]


@pytest.mark.parametrize(
    ("written", "unsupported"),
    [
        ("It lasted 8 years.[1]", ["It lasted 8 years."]),
        ("It did not last 7 years.[1]", ["It did not last 7 years."]),
        ("It lasted 7 years.[1] The war ended in 1763.[2]", ["The war ended in 1763."]),
        ("It lasted 7 moons.[9]", ["It lasted 7 moons."]),
        ("It last[1]", ["It last"]),
    ],
)
def test_a_mark_alone_cites_nothing(written: str, unsupported: list[str]) -> None:
    found = answer(written, WAR, "This war lasted, they say, for long.")
    assert [sentence.text for sentence in found.sentences if not sentence.supported] == unsupported


def test_half_a_word_is_no_quote() -> None:
    assert cited(answer("art[1]", "A part of it.")) == [("art", [])]
    assert cited(answer("浇水", CHINESE)) == [("浇水", ["doc-1: 浇水"])]


def test_a_sentence_may_stand_on_several_passages() -> None:
    found = answer("Water them daily.[1][2]", GARDEN, "Water them daily.")
    assert cited(found) == [("Water them daily.", ["doc-1: Water them daily.", "doc-2: Water them daily."])]


def test_of_several_marks_only_the_true_ones_count() -> None:
    assert cited(answer("Water them daily.[1][2][7]", WAR, GARDEN)) == [
        ("Water them daily.", ["doc-2: Water them daily."])
    ]


def test_a_mark_before_the_first_sentence_belongs_to_it() -> None:
    twice = f"{GARDEN} x"
    assert cited(answer("[2]Water them daily.", GARDEN, twice)) == [
        ("Water them daily.", ["doc-2: Water them daily."])
    ]


def test_stretches_of_a_grounded_answer_are_cited_each_from_its_own_passage() -> None:
    found = answer("in 1756[1] planted in May[2]", WAR, GARDEN, grounded=True)
    assert cited(found) == [("in 1756", ["doc-1: in 1756"]), ("planted in May", ["doc-2: planted in May"])]
    assert cited(answer("in 1756[1].", WAR, grounded=True)) == [("in 1756.", ["doc-1: in 1756."])]


def test_half_a_free_sentence_is_never_cited_on_its_own() -> None:
    assert cited(answer("The war[1] began in May[2].", WAR, "We began in May.")) == [
        ("The war began in May.", [])
    ]


@pytest.mark.parametrize(
    ("written", "source", "sentences"),
    [
        ("番茄在五月种植。[1]每天要浇水。[1]", CHINESE, ["番茄在五月种植。", "每天要浇水。"]),
        ("Томаты сажают в мае.[1] Поливать их нужно каждый день[1].", RUSSIAN, RUSSIAN.split(". ")),
    ],
)
def test_russian_and_chinese_answers_are_cited(written: str, source: str, sentences: list[str]) -> None:
    found = answer(written, source)
    assert all(sentence.supported for sentence in found.sentences)
    assert [each.rstrip(".") for each in (c.quote for c in found.citations)] == [
        each.rstrip(".") for each in sentences
    ]


@pytest.mark.parametrize(("written", "finish"), [("", "refused"), ("  ", "stop")])
def test_a_refusal_has_no_words_and_no_citations(written: str, finish: str) -> None:
    found = answer(written, WAR, finish=finish)
    assert (found.status, found.text, found.sentences, found.citations) == ("not_found", None, (), ())
    assert found.confidence == 0.8


def test_an_answer_that_ran_out_of_tokens_says_so() -> None:
    assert answer("It lasted", WAR, finish="length").finish_reason == "length"
