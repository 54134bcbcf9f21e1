import gzip
import json
from pathlib import Path

import pytest

from generation.highlights import find_highlights, rank_by_words
from generation.sentences import split_sentences
from generation.types import Source


def source(text: str, document_id: str = "doc", start: int = 0) -> Source:
    return Source(document_id, 1, start, start + len(text), text)


def shown(question: str, *sources: Source, limit: int = 3) -> list[str]:
    return [sources[i].text[start:end] for i, (start, end) in find_highlights(question, sources, limit)]


def test_a_rare_word_weighs_more_than_a_common_one() -> None:
    sentences = ["The cat sat.", "The dog sat.", "The zebra ran."]
    scores = rank_by_words("Where is the zebra?", sentences)
    assert max(scores) == scores[2]
    assert scores[0] == scores[1] > 0


def test_a_score_is_the_share_of_the_question_s_words() -> None:
    assert rank_by_words("dog cat", ["A cat and a dog.", "Neither."]) == [1.0, 0.0]
    assert rank_by_words("", ["A cat."]) == [0.0]
    assert rank_by_words("?", []) == []


def test_inflected_words_are_recognised() -> None:
    assert shown("Где сажают томаты?", source("Помидор и томат сажали на юге. Зима была долгой.")) == [
        "Помидор и томат сажали на юге."
    ]


def test_sentences_that_share_nothing_are_not_shown() -> None:
    assert shown("Who painted Guernica?", source("Water the tomatoes. The soil is warm.")) == []


def test_the_best_sentences_of_all_sources_come_first_up_to_the_limit() -> None:
    first, second = source("Bees fly. Bees like clover.", "a"), source("Bees make honey in summer.", "b")
    assert shown("When do bees make honey?", first, second, limit=1) == ["Bees make honey in summer."]
    assert shown("When do bees make honey?", first, second, limit=0) == []


def test_headings_are_not_shown() -> None:
    assert shown("How to install it", source("## How to install it\nRun make to install it.")) == [
        "Run make to install it."
    ]


def test_the_same_words_in_two_documents_are_two_highlights() -> None:
    text = "Bees make honey."
    found = find_highlights("Who makes honey", [source(text, "a"), source(text, "b"), source(text, "a")], 5)
    assert [index for index, _ in found] == [0, 1]


@pytest.mark.parametrize(("language", "floor"), [("en", 0.75), ("ru", 0.74), ("zh", 0.74)])
def test_the_sentence_with_the_answer_is_mostly_first(data_dir: Path, language: str, floor: float) -> None:
    hits = total = 0
    with gzip.open(data_dir / "xquad" / f"{language}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            spans = split_sentences(record["context"])
            scores = rank_by_words(record["question"], [record["context"][a:b] for a, b in spans])
            start, end = spans[scores.index(max(scores))]
            hits += start <= record["answers"][0]["answer_start"] < end
            total += 1
    assert hits / total > floor
