"""Figures of a decoder as a language model, from a decoder whose scores are known."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from app.evaluation.language import LanguageTask, Question, measure_language
from embeddings.errors import InvalidInput
from generation.text_score import TextScore

SCORES = {
    # Sum, per token, per character and per byte each choose another text.
    "yes": TextScore(-4.0, 1, 3, 3),
    "certainly not": TextScore(-5.0, 2, 13, 13),
    "никогда": TextScore(-4.5, 1, 14, 7),
}


class KnownDecoder:
    """Scores texts from a table, and writes the answers that it was given."""

    model_id = "known"
    takes_shots = True

    def __init__(self, written: Sequence[str] = ()) -> None:
        self.written = written
        self.asked: list[Question] = []

    def score_text(self, text: str, stride: int | None) -> TextScore:
        return TextScore(-float(len(text)), len(text.split()), len(text.encode()), len(text))

    def score_answers(self, question: Question, answers: Sequence[str]) -> list[TextScore]:
        self.asked.append(question)
        return [SCORES[answer] for answer in answers]

    def write(self, questions: Sequence[Question]) -> Iterator[tuple[int, str]]:
        """The last one first."""
        self.asked += questions
        yield from reversed(list(enumerate(self.written)))


def write_lines(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def nobody(what: str, done: int, total: int) -> None:
    assert done <= total


def test_perplexity_is_over_all_tokens_of_all_texts(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "d.jsonl", {"text": "a b c d"}, {"text": "猫"})
    measured = measure_language(LanguageTask("perplexity", data), KnownDecoder(), nobody)
    assert measured.figures["perplexity"] == pytest.approx(math.exp(8 / 5))
    assert measured.figures["bits_per_byte"] == pytest.approx(8 / math.log(2) / 10)
    assert (measured.figures["tokens"], measured.figures["n"]) == (5, 2)
    assert [row["tokens"] for row in measured.rows] == [4, 1]


def test_perplexity_of_a_file_of_questions_is_that_of_the_first_answers(tmp_path: Path) -> None:
    data = write_lines(tmp_path / "d.jsonl", {"question": "q?", "answers": ["yes", "никогда"]})
    measured = measure_language(LanguageTask("perplexity", data), KnownDecoder(), nobody)
    assert measured.figures["perplexity"] == pytest.approx(math.exp(4))


def test_each_normalisation_chooses_by_its_own_length(tmp_path: Path) -> None:
    line = {"question": "q?", "choices": list(SCORES), "answer": "certainly not"}
    data = write_lines(tmp_path / "d.jsonl", line, {**line, "answer": "yes"})
    measured = measure_language(LanguageTask("choice", data), KnownDecoder(), nobody)
    row = measured.rows[0]
    assert (row["accuracy"], row["accuracy_per_token"]) == (0, 1)
    assert (row["accuracy_per_character"], row["accuracy_per_byte"]) == (1, 2)
    assert row["logprobs"] == [-4.0, -5.0, -4.5]
    accuracy = measured.figures["accuracy"]
    assert (accuracy["value"], accuracy["low"] <= 0.5 <= accuracy["high"]) == (0.5, True)
    assert measured.figures["accuracy_per_byte"]["value"] == 0


def test_answers_are_compared_with_all_references(tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu", reason="needs the extra eval: make setup-dev")
    data = write_lines(
        tmp_path / "d.jsonl",
        {"prompt": "1", "answers": ["the cat sat on the mat"]},
        {"prompt": "2", "answers": ["no", "a red apple fell down"]},
    )
    decoder = KnownDecoder(["The cat sat on the mat.", "a red pear fell down"])
    measured = measure_language(LanguageTask("answer", data), decoder, nobody)
    assert [row["em"] for row in measured.rows] == [1.0, 0.0]
    assert measured.figures["em"]["value"] == 0.5
    assert measured.rows[1]["f1"] == pytest.approx(3 / 4)
    assert 0 < measured.figures["bleu"] < 100
    assert measured.rows[0]["prediction"] == "The cat sat on the mat."


def test_shots_are_the_first_examples_that_are_not_the_question(tmp_path: Path) -> None:
    lines = [
        {"question": f"{number}?", "choices": ["yes", "certainly not"], "answer": 0} for number in "abcd"
    ]
    data = write_lines(tmp_path / "d.jsonl", *lines)
    decoder = KnownDecoder()
    measured = measure_language(LanguageTask("choice", data, shots=2, examples=data), decoder, nobody)
    shown = [[shot.question for shot in question.shots] for question in decoder.asked]
    assert shown == [["b?", "c?"], ["a?", "c?"], ["a?", "b?"], ["a?", "b?"]]
    assert measured.figures["shots"] == 2


@pytest.mark.parametrize(("shots", "given"), [(4, True), (1, False)])
def test_shots_that_are_not_there_are_told(tmp_path: Path, shots: int, given: bool) -> None:
    line = {"question": "q?", "choices": ["yes", "certainly not"], "answer": 0}
    data = write_lines(tmp_path / "d.jsonl", line)
    task = LanguageTask("choice", data, shots=shots, examples=data if given else None)
    with pytest.raises(InvalidInput) as raised:
        measure_language(task, KnownDecoder(), nobody)
    assert raised.value.field == "examples"


def test_decoder_without_examples_refuses_shots(tmp_path: Path) -> None:
    decoder = KnownDecoder()
    decoder.takes_shots = False
    with pytest.raises(InvalidInput, match="takes no examples"):
        measure_language(LanguageTask("choice", tmp_path, shots=1), decoder, nobody)
