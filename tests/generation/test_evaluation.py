import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from embeddings.errors import InvalidInput
from generation.answering import Answerer, AnswerEvent
from generation.evaluation import evaluate_answers
from generation.questions import Record, gold_source, read_records
from generation.types import Answer, AnswerSentence, AnswerStatus, Citation
from tests.generation.word_reader import WordReader

WAR = "The war began in 1756. It lasted 7 years."
RECORDS = [
    Record("right", "When: began", WAR, "War", ("in 1756",)),
    Record("half", "How long: lasted", WAR, "War", ("7",)),
    Record("refused though answerable", "Who: Pitt", WAR, "War", ("The war began in 1756",)),
    Record("rightly refused", "Who: Frederick", WAR, "War", ()),
    Record("answered though unanswerable", "Where: It", WAR, "War", ()),
]


def test_the_figures_are_those_worked_out_by_hand() -> None:
    done: list[int] = []
    figures = evaluate_answers(
        RECORDS, Answerer(WordReader(), refuse_below=0.5), lambda r: [gold_source(r)], progress=done.append
    )
    seconds, p50, p95 = (figures.pop(name) for name in ("seconds_per_answer", "ms_p50", "ms_p95"))
    assert isinstance(seconds, float)
    assert seconds > 0
    assert 0 < p50 <= p95  # type: ignore[operator]
    assert done == [1, 2, 3, 4, 5]
    assert figures == pytest.approx(
        {
            "em": 2 / 5,
            "f1": (1 + 2 / 3 + 0 + 1 + 0) / 5,
            "rouge_l": (1 + 2 / 3 + 0 + 1 + 0) / 5,
            "answerable_em": 1 / 3,
            "answerable_f1": (1 + 2 / 3) / 3,
            "answerable_f1_unrefused": (1 + 2 / 3 + 1) / 3,
            "answerable_rouge_l_unrefused": (1 + 2 / 3 + 1) / 3,
            "answerable_held_unrefused": 1.0,
            "refusal_precision": 1 / 2,
            "refusal_recall": 1 / 2,
            "auroc": (1.0 + 0.5 + 1.0 + 0.5 + 0.5 + 0.0) / 6,
            # Refusal off, 0.9: two right and one wrong; 0.1: one of each.
            "right_auroc": (1 + 1 + 0.5 + 0.5 + 0.5 + 0) / 6,
            "ece": (3 * (0.9 - 2 / 3) + 2 * (0.5 - 0.1)) / 5,
            # Refusing everything gives 2 / 5, nothing (1 + 2 / 3 + 1) / 5.
            "best_threshold": 0.0,
            "best_threshold_f1": (1 + 2 / 3 + 1) / 5,
            "verified_quotes": 1.0,
            "n": 5,
            "n_answerable": 3,
            "n_answered": 3,
        }
    )


def test_a_second_reading_is_made_only_for_what_was_refused() -> None:
    reader = WordReader()
    evaluate_answers(RECORDS, Answerer(reader, refuse_below=0.5), lambda r: [gold_source(r)])
    assert [threshold for _, _, threshold in reader.asked] == [0.5, 0.5, 0.5, None, 0.5, None, 0.5]


@pytest.mark.parametrize(
    "citation", [Citation(1, "right", 1, 0, 4, "else"), Citation(1, "wrong", 1, 0, 3, "The")]
)
def test_a_quote_that_its_document_does_not_hold_is_not_verified(citation: Citation) -> None:
    class LyingAnswerer(Answerer):
        def answer(self, *_: object, **__: object) -> Iterator[AnswerEvent]:
            sentences = (AnswerSentence(citation.quote, (1,)),)
            yield Answer(AnswerStatus.ANSWERED, citation.quote, 0.9, sentences, (citation,))

    figures = evaluate_answers(RECORDS[:1], LyingAnswerer(None, refuse_below=0.5), lambda r: [gold_source(r)])
    assert figures["verified_quotes"] == 0


def test_figures_without_a_denominator_are_none() -> None:
    figures = evaluate_answers(
        RECORDS[:1], Answerer(WordReader(), refuse_below=0.5), lambda r: [gold_source(r)]
    )
    assert figures["refusal_precision"] is None
    assert figures["auroc"] is None
    assert figures["em"] == 1


def test_highlights_are_scored_by_the_best_sentence() -> None:
    record = Record("ru", "Когда сажают томаты?", "Почва тёплая. Томаты сажают в мае.", "", ("в мае",))
    figures = evaluate_answers([record], Answerer(WordReader(), refuse_below=0.5), lambda r: [gold_source(r)])
    assert figures["f1"] == pytest.approx(2 * 2 / (4 + 2))
    assert figures["verified_quotes"] == 1


def test_nothing_to_answer_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="no question"):
        evaluate_answers([], Answerer(None, refuse_below=0.5), lambda _: [])


LINE = {
    "id": "1",
    "question": "Q?",
    "context": "C",
    "answers": [{"text": "C", "answer_start": 0}],
    "lang": "en",
}


def write(path: Path, *lines: object) -> Path:
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["qa.jsonl", "qa.jsonl.gz"])
def test_records_are_read_as_far_as_asked(tmp_path: Path, name: str) -> None:
    impossible = LINE | {"id": "2", "is_impossible": True, "title": "T"}
    path = write(tmp_path / name, LINE, impossible, LINE | {"id": "3"})
    assert read_records(path, 2) == [
        Record("1", "Q?", "C", None, ("C",)),
        Record("2", "Q?", "C", "T", ()),
    ]
    assert len(read_records(path)) == 3


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{not json\n", "line 2"),
        ({"id": "1", "question": "Q?", "context": "C"}, "answers"),
        (LINE | {"question": 5}, "question"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: object, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as raised:
        read_records(write(tmp_path / "qa.jsonl", LINE, line))
    assert "line 2" in raised.value.message


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="absent"):
        read_records(tmp_path / "absent.jsonl")
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(b"not gzip")
    with pytest.raises(InvalidInput, match="broken"):
        read_records(broken)
    truncated = write(tmp_path / "cut.jsonl.gz", *[LINE | {"id": str(i)} for i in range(500)])
    truncated.write_bytes(truncated.read_bytes()[:-20])
    with pytest.raises(InvalidInput, match="cut"):
        read_records(truncated)


def test_records_of_every_language_are_read(data_dir: Path) -> None:
    for name in ("squad/dev", "nq_gold/dev", "drcd/dev", "xquad/ru"):
        records = read_records(data_dir / f"{name}.jsonl.gz", 20)
        assert len(records) == 20
        assert all(record.question and record.context for record in records)


def test_passages_may_be_left_out_only_where_they_are_searched(tmp_path: Path) -> None:
    bare = {"id": "1", "question": "Q?", "answers": [{"text": "C"}]}
    path = write(tmp_path / "qa.jsonl", bare)
    assert read_records(path, passages=False) == [Record("1", "Q?", "", None, ("C",))]
    with pytest.raises(InvalidInput, match="line 1: no context"):
        read_records(path)


def test_free_answers_are_measured_like_any_other(tmp_path: Path) -> None:
    free = LINE | {
        "question": "How long: lasted",
        "context": WAR,
        "answers": [{"text": "seven years", "answer_start": -1}],
    }
    records = read_records(write(tmp_path / "qa.jsonl", free))
    figures = evaluate_answers(records, Answerer(WordReader(), refuse_below=0.5), lambda r: [gold_source(r)])
    assert figures["answerable_rouge_l_unrefused"] == pytest.approx(1 / 2)
    assert figures["n_answerable"] == 1


def test_answers_without_a_confidence_have_no_figures_of_it() -> None:
    figures = evaluate_answers(RECORDS, Answerer(None, refuse_below=0.5), lambda r: [gold_source(r)])
    assert figures["ece"] is None
    assert figures["best_threshold"] is None
