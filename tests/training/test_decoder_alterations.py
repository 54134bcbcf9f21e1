"""Questions changed so that their passage no longer answers them."""

import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from training.alteration_kinds import KINDS, Case
from training.alteration_passages import read_passage
from training.antonyms import OPPOSITES, opposites
from training.decoder_alterations import altered_questions
from training.decoder_data import QaRecord, load_records

HARBOUR = (
    "The harbour of Northwick was built in 1871 by Ada Miller. It lies at the mouth of the river Tarn. "
    "The largest ship that ever entered it was the Golden Plover. Trade with Esterland ended after the war. "
    "John Baker became the first keeper of the lighthouse in 1903."
)
BRIDGE = (
    "The bridge of Oakhurst was opened by Queen Maud in 1866. Southport and Westbourne paid for the stone. "
    "Peter Hale, who drew the plans, never saw the tower."
)


def record(question: str, answer: str, context: str = HARBOUR, group: str = "harbour") -> QaRecord:
    start = context.index(answer)
    return QaRecord(question, context, group, ((start, start + len(answer)),))


def variants(asked: QaRecord, kind: str, other: str = BRIDGE) -> list[str]:
    start, end = asked.answers[0]
    passage = read_passage(asked.context)
    sentence = next(asked.context[a:b] for a, b in passage.spans if a <= start and end <= b)
    case = Case(asked, passage, [read_passage(other)], sentence.lower(), random.Random(3))
    return [alteration.question for alteration in KINDS[kind][0](case)]


RECORDS = [
    record("Who built the harbour of Northwick?", "Ada Miller"),
    record("When did John Baker become the first keeper of the lighthouse?", "1903"),
    record("What was the largest ship that entered the harbour?", "the Golden Plover"),
    record("With whom did trade end after the war?", "Esterland"),
    record("Who opened the bridge of Oakhurst in 1866?", "Queen Maud", BRIDGE),
    record("who drew the plans of the bridge", "Peter Hale", BRIDGE),
]


def test_an_altered_question_keeps_all_but_its_answer() -> None:
    found = altered_questions(RECORDS, seed=1, share=1.0)

    assert len(found) == len(RECORDS)
    for before, after in zip(RECORDS, found, strict=True):
        assert after.question != before.question
        assert after.answers == ()
        assert after.plausible == before.answers[0]
        assert (after.context, after.group, after.style) == (before.context, before.group, before.style)


def test_the_style_of_the_record_stays() -> None:
    asked = replace(RECORDS[0], style="sentences")

    assert [r.style for r in altered_questions([asked], seed=1, share=1.0)] == ["sentences"]


def test_the_seed_decides_everything() -> None:
    assert altered_questions(RECORDS, 5, 1.0) == altered_questions(RECORDS, 5, 1.0)
    assert any(
        altered_questions(RECORDS, 5, 1.0) != altered_questions(RECORDS, seed, 1.0) for seed in range(6, 9)
    )


def test_the_share_says_how_many_are_altered() -> None:
    many = [replace(RECORDS[0], question=f"Who built harbour {i} of Northwick?") for i in range(400)]

    assert altered_questions(many, 1, 0.0) == []
    assert 60 <= len(altered_questions(many, 1, 0.25)) <= 140


def test_unanswerable_questions_and_yes_or_no_questions_are_left_alone() -> None:
    unanswerable = replace(RECORDS[0], answers=())
    yes_or_no = replace(RECORDS[0], question="Was the harbour of Northwick built by Ada Miller?")

    assert altered_questions([unanswerable, yes_or_no], 1, 1.0) == []


def test_no_variant_is_asked_by_another_record() -> None:
    asked = [RECORDS[0], *(replace(RECORDS[0], question=q) for q in variants(RECORDS[0], "name"))]
    questions = {r.question.lower() for r in asked}

    for seed in range(8):
        assert not questions & {r.question.lower() for r in altered_questions(asked, seed, 1.0)}


def test_a_name_becomes_one_of_another_passage_or_sentence() -> None:
    found = variants(RECORDS[0], "name")

    assert found
    for question in found:
        assert re.fullmatch(r"Who built the harbour of [A-Z][\w ]+\?", question), question
        assert "Northwick" not in question


def test_a_name_in_small_letters_is_swapped_too() -> None:
    found = variants(replace(RECORDS[0], question="who built the harbour of northwick"), "name")

    assert found
    assert all(question == question.lower() and "northwick" not in question for question in found)


def test_a_part_of_the_same_name_does_not_replace_it() -> None:
    context = "Nikola Tesla was born in Smiljan. Tesla met Edison. Nikola wrote to Westinghouse."
    asked = record("Where was Tesla born?", "Smiljan", context)

    assert all("Nikola" not in question for question in variants(asked, "name"))


def test_what_is_inserted_does_not_stand_in_the_answers_sentence() -> None:
    asked = record("Who became the first keeper in 1903?", "John Baker")
    sentence = {"the", "lighthouse", "keeper"}

    for seed in range(40):
        for after in altered_questions([asked, *RECORDS], seed, 1.0)[:1]:
            assert after.question.startswith(("Besides", "Other than", "Apart from")) or not sentence & (
                set(re.findall(r"\w+", after.question)) - set(re.findall(r"\w+", asked.question))
            )


def test_a_question_that_another_sentence_answers_is_not_made() -> None:
    context = "The harbour of Northwick was built in 1871. The harbour of Southwick was built in 1903."
    asked = record("When was the harbour of Northwick built?", "1871", context)

    for seed in range(30):
        assert all("Southwick" not in r.question for r in altered_questions([asked], seed, 1.0))


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What was the largest ship?", "What was the smallest ship?"),
        ("What happened before the war?", "What happened after the war?"),
        ("Which state accepted the treaty?", "Which state rejected the treaty?"),
        ("Who is the father of Ada?", "Who is the mother of Ada?"),
        ("Which is an advantage?", "Which is a disadvantage?"),
    ],
)
def test_an_antonym_keeps_the_inflection_and_the_article(question: str, expected: str) -> None:
    assert expected in variants(replace(RECORDS[0], question=question), "opposite")


@pytest.mark.parametrize(
    "question", ["How long is it?", "What is the First Bank called?", "It lasted no longer?"]
)
def test_set_phrases_and_names_keep_their_words(question: str) -> None:
    assert variants(replace(RECORDS[0], question=question), "opposite") == []


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What did the king want?", {"What didn't the king want?"}),
        ("What can water do?", {"What can't water do?"}),
        (
            "Which tower was built first?",
            {"Which tower was not built first?", "Which tower was never built first?"},
        ),
        ("Why didn't he go?", {"Why did he go?"}),
        ("Who can not vote?", {"Who can vote?"}),
        ("Who won't pay?", {"Who will pay?"}),
    ],
)
def test_a_negation_is_inserted_or_removed(question: str, expected: set[str]) -> None:
    found = variants(replace(RECORDS[0], question=question), "negation")

    assert found
    assert set(found) <= expected


@pytest.mark.parametrize(
    ("question", "pattern"),
    [
        ("What happened in 1871?", r"What happened in 1[89]\d\d\?"),
        ("Who ruled in the 1980s?", r"Who ruled in the (19|20)\d0s\?"),
        ("Who was the 2nd king?", r"Who was the \d+(st|nd|rd|th) king\?"),
        ("Who owns 12,500 sheep?", r"Who owns [\d,]+ sheep\?"),
        ("Who weighs 3.5 tons?", r"Who weighs \d+\.\d tons\?"),
        ("Who has 3 sons?", r"Who has \d+ sons\?"),
    ],
)
def test_a_number_becomes_another_of_its_kind(question: str, pattern: str) -> None:
    found = variants(replace(RECORDS[0], question=question), "number")

    assert found
    assert all(re.fullmatch(pattern, changed) and changed != question for changed in found)


def test_the_answer_itself_can_be_excluded() -> None:
    assert variants(RECORDS[0], "exclusion")[0].endswith(" Ada Miller, who built the harbour of Northwick?")


def test_opposites_go_both_ways_and_no_word_is_its_own() -> None:
    assert len(OPPOSITES) > 400
    for word, others in OPPOSITES.items():
        assert word not in others
        assert all(word == "left" or other == "left" or word in OPPOSITES[other] for other in others)
    assert "Smallest" in opposites("Largest")
    assert opposites("harbour") == ()


def test_nearly_every_question_of_squad_can_be_altered_in_many_ways(data_dir: Path) -> None:
    records = [r for r in load_records(data_dir / "squad/train.jsonl.gz") if r.answers][:1500]

    found = altered_questions(records, seed=2, share=1.0)

    assert len(found) > 0.95 * len(records)
    by_context = {r.context: r for r in records}
    assert all(r.context in by_context and r.plausible is not None and not r.answers for r in found)
    negated = sum(bool(re.search(r"n't\b|\bnot\b|\bnever\b", r.question)) for r in found)
    assert negated < 0.35 * len(found)
