import random
import re
from pathlib import Path

import pytest

from generation.sentences import split_sentences
from training.decoder_crude import crude_question
from training.decoder_data import QaRecord
from training.decoder_recipe import HELD_OUT_GROUPS, load_tokenizer
from training.decoder_recurrence import Passage
from training.decoder_spans import BLANK, raw_texts, recurring_span_records
from training.decoder_texts import HELD_OUT_ARTICLES, cut, plain_prose

BUNDLED = Path(__file__).resolve().parents[2] / "generation" / "bundled"
BRIDGE = (
    "The harbour bridge was planned by Anna Lindqvist in the winter of that year. Rain fell for weeks on the "
    "valley and nobody worked. In the spring Anna Lindqvist drew the harbour bridge a second time, with two "
    "towers. The towers were finished late, and the mayor opened the road."
)
MILL = (
    "The old mill stood by the water of Tarnholm for three hundred years. When the mill burned down, its "
    "owner moved away from Tarnholm and never came back. Children still play between the walls, and the "
    "wheel lies in the grass behind them."
)


def _records(texts: list[tuple[str, str]], crude: float = 0.0, unanswerable: float = 0.0) -> list[QaRecord]:
    return recurring_span_records(texts, 3, per_text=4, crude=crude, unanswerable=unanswerable)


def _spans(text: str, common: frozenset[str] = frozenset()) -> set[str]:
    passage = Passage(text)
    return {
        text[slice(*passage.span(found.starts[0], found.length))] for found in passage.recurrences(common)
    }


def test_question_is_a_sentence_that_has_left_the_context() -> None:
    records = _records([("bridge", BRIDGE), ("mill", MILL)])
    assert {record.group for record in records} == {"bridge", "mill"}
    for record in records:
        text = BRIDGE if record.group == "bridge" else MILL
        answer = record.context[slice(*record.answers[0])]
        sentence = record.question.replace(BLANK, answer)
        assert sentence in text
        assert sentence not in record.context
        rest = [text[a:b] for a, b in split_sentences(text) if text[a:b] != sentence]
        assert record.context == " ".join(rest)


def test_answers_are_all_other_mentions_and_none_stands_in_the_question() -> None:
    text = BRIDGE + " Anna Lindqvist was given a medal by the council."
    records = [r for r in _records([("b", text)]) if r.context[slice(*r.answers[0])] == "Anna Lindqvist"]
    assert records
    for record in records:
        assert [record.context[a:b] for a, b in record.answers] == ["Anna Lindqvist"] * 2
        assert record.question.count(BLANK) == 1
        assert "Lindqvist" not in record.question


def test_longest_run_is_chosen_over_its_parts() -> None:
    spans = _spans(BRIDGE)
    assert {"Anna Lindqvist", "harbour bridge", "towers"} <= spans
    assert not {"Anna", "Lindqvist", "harbour", "bridge"} & spans


def test_single_common_nouns_stop_words_and_clauses_are_not_asked_for() -> None:
    text = (
        "The king was happy with the gold. It was said that the king was happy with the bread and the gold."
    )
    assert _spans(text, frozenset({"king", "gold", "happy"})) == set()
    assert "gold" in _spans(text, frozenset({"king", "happy"}))
    named = "He went to Rome in May. Nobody saw Rome again that day, and nobody spoke."
    assert "Rome" in _spans(named, frozenset({"rome", "may"}))  # a name is asked for, however common


def test_span_inside_one_sentence_or_across_two_does_not_count() -> None:
    assert "copper" not in _spans("Copper wire and copper pipe are sold here. The shop is closed today.")
    assert _spans("We saw the copper. Pipes rust. They stole copper pipes there.") == {"copper", "Pipes"}


def test_part_of_a_longer_name_is_not_blanked() -> None:
    text = (
        "Prince Featherhead rode through the narrow gate of the castle at dawn. The people waved at the "
        "castle, and Prince was heard to laugh at them. Then the guards of the castle followed "
        "Prince to the river."
    )
    questions = [record.question for record in _records([("p", text)])]
    assert questions
    assert not any(f"{BLANK} Featherhead" in question for question in questions)


def test_unanswerable_question_comes_from_the_group_and_its_answer_is_not_in_the_context() -> None:
    texts = [("town", BRIDGE), ("town", MILL), ("alone", MILL.replace("Tarnholm", "Vikstad"))]
    records = _records(texts, unanswerable=0.3)
    refused = [record for record in records if not record.answers]
    assert refused
    assert {record.group for record in refused} == {"town"}
    for record in refused:
        origin = next(r for r in records if r.answers and r.question == record.question and r.group == "town")
        assert origin.context != record.context
        assert origin.context[slice(*origin.answers[0])].casefold() not in record.context.casefold()


def test_share_of_unanswerables_and_of_crude_questions_is_kept() -> None:
    texts = [
        (f"g{n // 4}", re.sub("Anna Lindqvist", f"Anna Berg{chr(97 + n)}ul", BRIDGE) + f" It is page {n}.")
        for n in range(20)
    ]
    texts = [(group, text.replace("harbour", f"harbour{n}")) for n, (group, text) in enumerate(texts)]
    records = recurring_span_records(texts, 3, unanswerable=0.25, crude=0.5)
    assert sum(not record.answers for record in records) == pytest.approx(0.25 * len(records), abs=1)
    crude = sum(BLANK not in record.question for record in records)
    assert 0.25 * len(records) < crude < 0.75 * len(records)


def test_sentence_repeated_in_many_texts_is_asked_only_twice() -> None:
    texts = [(f"g{n}", MILL.replace("Tarnholm", f"Town{n}ville")) for n in range(6)]
    questions = [record.question for record in recurring_span_records(texts, 3, per_text=9)]
    blanked = [question for question in questions if f"{BLANK} for three hundred" in question]
    assert len(blanked) == 2


def test_same_seed_gives_the_same_records() -> None:
    texts = [("a", BRIDGE), ("b", MILL)]
    assert recurring_span_records(texts, 5) == recurring_span_records(texts, 5)


@pytest.mark.parametrize(
    ("before", "span", "after", "words"),
    [
        ("The tower was built in ", "1903", ".", ("when",)),
        ("It closed on ", "12 June 1903", " for good.", ("when",)),
        ("The farm kept ", "40", " cows.", ("how many cows",)),
        ("The queen lived in ", "Paris", " for a year.", ("where",)),
        ("In those days ", "Anna Lindqvist", " designed a bridge.", ("who designed",)),
        ("It was given to the keeper (", "Anna Berg", "), who left.", ("(what)",)),
        ("The leaves of the ", "maple", " turn red.", ("leaves of what",)),
    ],
)
def test_question_word_follows_the_form_of_the_span(
    before: str, span: str, after: str, words: tuple[str, ...]
) -> None:
    for seed in range(8):
        question = crude_question(before, span, after, random.Random(seed))
        assert question.endswith("?")
        assert span not in question
        assert words[0].split()[0] in question
        if not re.search(r"\b(?:was|is|are)\b", before):
            assert words[0] in question


def test_auxiliary_goes_to_the_front_with_the_question_word() -> None:
    questions = {
        crude_question("The bridge was built by ", "Anna Berg", ".", random.Random(n)) for n in range(30)
    }
    assert questions == {"who was The bridge built by?", "The bridge was built by who?"}

    clause = ("However, the miller, who was old, gave the key to ", "Anna", ".")
    assert {crude_question(*clause, random.Random(n)) for n in range(30)} == {
        "However, the miller, who was old, gave the key to what?"
    }


def test_long_sentence_is_cut_to_the_words_around_the_blank_half_of_the_time() -> None:
    before = "On the morning after the great storm of that autumn the old harbour master gave the key to "
    after = " because nobody else in the whole of the long street knew how the heavy lock worked."
    lengths = [len(crude_question(before, "Anna", after, random.Random(seed)).split()) for seed in range(40)]
    whole = len((before + "who" + after).split())
    assert set(lengths) - {whole} <= set(range(4, 14))
    assert 8 < lengths.count(whole) < 32


def test_pieces_are_whole_sentences_within_the_limits() -> None:
    text = " ".join(f"Sentence number {n} says a little about the harbour." for n in range(80))
    pieces = list(cut(text))
    assert " ".join(pieces) == text[: len(" ".join(pieces))]
    assert all(200 <= len(piece) <= 1100 for piece in pieces)
    assert all(piece.startswith("Sentence") and piece.endswith("harbour.") for piece in pieces)
    assert max(len(piece) for piece in pieces) > 1000
    assert list(cut("Too short to keep.")) == []


def test_sentence_longer_than_a_piece_is_left_out_and_the_rest_kept() -> None:
    short = "A plain sentence of the usual length stands here as well. " * 5
    pieces = list(cut(short + "word " * 300 + "end. " + short))
    assert len(pieces) == 2
    assert not any("word" in piece for piece in pieces)


def test_markdown_page_is_reduced_to_its_sentences() -> None:
    page = (
        "# A Title { #title }\n\nUse the **router** with [a link](http://x.y/z) and `code`\nover two lines."
        "\n\n```python\nsecret = 1\n```\n\n| a | b |\n| - | - |\n\n/// note | Hint\n\nRead <abbr>"
        "this</abbr>.\n\n///\n\n{* ../../src/a.py hl[6] *}\n\n<!-- gone -->\n* first\n* second\n"
    )
    assert plain_prose(page).split("\n\n") == [
        "Use the router with a link and code over two lines.",
        "Read this.",
        "- first\n- second",
    ]


def test_blank_is_one_token_of_the_bundled_tokenizer() -> None:
    if not (BUNDLED / "tokenizer.json").is_file():
        pytest.skip("the bundled tokenizer is not here")
    encoding = load_tokenizer(BUNDLED).encode(f"the {BLANK}, too", add_special_tokens=False)
    assert encoding.ids.count(103) == 1
    assert len(encoding.ids) == 4


def test_held_out_articles_stay_out() -> None:
    assert HELD_OUT_GROUPS <= HELD_OUT_ARTICLES


def test_raw_texts_of_the_data_folder_are_new_and_of_the_right_length(data_dir: Path) -> None:
    if not (data_dir / "medquad").is_dir():
        pytest.skip(f"no raw text in {data_dir}")
    rows = list(raw_texts(data_dir))
    assert len({text for _, text in rows}) == len(rows) > 10_000
    assert all(200 <= len(text) <= 1100 for _, text in rows)
    assert not HELD_OUT_ARTICLES & {group.replace(" ", "_") for group, _ in rows}
    assert not any("```" in text or "{{#" in text for _, text in rows)
