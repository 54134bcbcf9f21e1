"""Answers measured on a file, with a reader that matches words."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.evaluation.answers import AnswerTask, measure_answers
from app.resources import Models
from app.settings import Settings
from embeddings.errors import FootnoteError, InvalidInput
from generation.answering import Answerer
from tests.app.hashing_encoder import HashingEncoder, write_word_tokenizer
from tests.generation.word_reader import WordReader

WAR = "The war began in 1756. It lasted 7 years."
PEACE = "Peace was made in Paris. Everybody signed."


def question(number: int, text: str, context: str, answer: str | None) -> dict[str, Any]:
    answers = [] if answer is None else [{"text": answer, "answer_start": context.find(answer)}]
    return {
        "id": str(number), "title": "War", "question": text, "context": context, "answers": answers,
        "is_impossible": answer is None,
    }  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lines = [
        question(1, "When: began", WAR, "in 1756"),
        question(2, "Where: made", PEACE, "in Paris"),
        question(3, "Who: Frederick", WAR, None),
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


@pytest.fixture
def models(tmp_path: Path) -> Models:
    return Models(HashingEncoder(), write_word_tokenizer(tmp_path), Answerer(WordReader(), refuse_below=0.5))


class Progress:
    """What was told while measuring."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []

    def __call__(self, what: str, done: int, total: int) -> None:
        self.told.append((what, done, total))


def test_gold_passages_are_read_one_by_one(data: Path, models: Models, settings: Settings) -> None:
    progress = Progress()
    figures = measure_answers(AnswerTask(data), models, settings, progress)
    assert (figures["em"], figures["refusal_recall"], figures["verified_quotes"]) == (1.0, 1.0, 1.0)
    assert progress.told == [("questions", 1, 3), ("questions", 2, 3), ("questions", 3, 3)]


def test_end_to_end_all_passages_are_searched_and_the_data_folder_is_left_alone(
    data: Path, models: Models, settings: Settings
) -> None:
    progress = Progress()
    figures = measure_answers(AnswerTask(data, retrieve=True, limit=2), models, settings, progress)
    assert (figures["n"], figures["em"], figures["verified_quotes"]) == (2, 1.0, 1.0)
    assert ("passages", 2, 2) in progress.told
    assert not settings.home.exists()


def test_without_refusal_every_question_is_answered(data: Path, models: Models, settings: Settings) -> None:
    figures = measure_answers(AnswerTask(data, refuse=False), models, settings, Progress())
    assert (figures["n_answered"], figures["refusal_recall"]) == (3, 0.0)


def test_without_a_decoder_there_is_nothing_to_measure(
    data: Path, models: Models, settings: Settings
) -> None:
    silent = Models(models.encoder, models.tokenizer, Answerer(None, refuse_below=0.0))
    with pytest.raises(FootnoteError, match="no decoder"):
        measure_answers(AnswerTask(data), silent, settings, Progress())


def test_file_of_another_form_is_refused_with_its_line(
    tmp_path: Path, models: Models, settings: Settings
) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"_id": "1", "text": "no question"}', encoding="utf-8")
    with pytest.raises(InvalidInput, match="line 1"):
        measure_answers(AnswerTask(path), models, settings, Progress())
