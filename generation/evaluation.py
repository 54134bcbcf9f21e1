"""Measure answers on questions with known answers."""

import gzip
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import msgspec

from embeddings.errors import InvalidInput
from generation.answering import NEVER_REFUSE, Answerer
from generation.metrics import auroc, exact_match, f1_score, precision_recall
from generation.sampling import SamplingSettings
from generation.types import Answer, AnswerStatus, Citation, Source

FindSources = Callable[["Record"], Sequence[Source]]


@dataclass(frozen=True, slots=True)
class Record:
    """One question with the passage it was asked about. answers: acceptable texts, none when it is
    unanswerable.
    """

    id: str
    question: str
    context: str
    title: str | None
    answers: tuple[str, ...]

    @property
    def answerable(self) -> bool:
        return bool(self.answers)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one question. unrefused: the prediction with refusal off; seconds: of the first answer
    only.
    """

    record: Record
    answer: Answer
    unrefused: str
    quotes_hold: bool
    seconds: float

    def score(self, metric: Callable[[str, Sequence[str]], float]) -> float:
        """The metric of the prediction against the gold answers."""
        return metric(predicted_text(self.answer), self.record.answers)


def evaluate_answers(
    records: Sequence[Record],
    answerer: Answerer,
    find_sources: FindSources,
    *,
    sampling: SamplingSettings | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, float | int | None]:
    """Answer every question and return the figures of `summarize`.

    find_sources: the sources of a question, best first; a citation is checked against the text of their
    documents. progress: called with the number of questions answered so far. Raises InvalidInput when there
    are no records.
    """
    if not records:
        raise InvalidInput("there is no question to answer", found="0 records", expected="at least one")
    outcomes = []
    for done, record in enumerate(records, start=1):
        outcomes.append(_answer_record(record, answerer, find_sources, sampling or SamplingSettings()))
        if progress is not None:
            progress(done)
    return summarize(outcomes)


def summarize(outcomes: Sequence[Outcome]) -> dict[str, float | int | None]:
    """The figures of some outcomes; None where there is nothing to divide by.

    em, f1: SQuAD 2.0, over all questions; answerable_*: over the answerable ones, _unrefused with refusal
    off. refusal_*: precision and recall of not_found as a guess that a question is unanswerable. auroc: of
    the confidence, answerable against unanswerable. verified_quotes: share of the answers given of which
    every sentence is cited and every quote is what its document holds. seconds_per_answer: search not
    included.
    """
    answerable = [outcome for outcome in outcomes if outcome.record.answerable]
    given = [outcome for outcome in outcomes if outcome.answer.status is not AnswerStatus.NOT_FOUND]
    figures = {
        "em": _mean(outcome.score(exact_match) for outcome in outcomes),
        "f1": _mean(outcome.score(f1_score) for outcome in outcomes),
        "answerable_em": _mean(outcome.score(exact_match) for outcome in answerable),
        "answerable_f1": _mean(outcome.score(f1_score) for outcome in answerable),
        "answerable_f1_unrefused": _mean(
            f1_score(outcome.unrefused, outcome.record.answers) for outcome in answerable
        ),
        **_refusal_figures(outcomes),
        "verified_quotes": _mean(float(outcome.quotes_hold) for outcome in given),
        "seconds_per_answer": _mean(outcome.seconds for outcome in outcomes),
    }
    counts = {"n": len(outcomes), "n_answerable": len(answerable), "n_answered": len(given)}
    return {**{name: _known(value) for name, value in figures.items()}, **counts}


def _refusal_figures(outcomes: Sequence[Outcome]) -> dict[str, float]:
    precision, recall = precision_recall(
        [outcome.answer.status is AnswerStatus.NOT_FOUND for outcome in outcomes],
        [not outcome.record.answerable for outcome in outcomes],
    )
    scored = [
        (outcome.answer.confidence, outcome.record.answerable)
        for outcome in outcomes
        if outcome.answer.confidence is not None
    ]
    area = auroc([confidence for confidence, _ in scored], [answerable for _, answerable in scored])
    return {"refusal_precision": precision, "refusal_recall": recall, "auroc": area}


def read_records(path: Path, limit: int | None = None) -> list[Record]:
    """The first `limit` questions of a QA file (.jsonl or .jsonl.gz); all when None.

    Raises InvalidInput that names the line when it is not such a record or the file cannot be read.
    """
    try:
        with _open_text(path) as lines:
            return [
                _parse_record(path, number, line) for number, line in islice(enumerate(lines, start=1), limit)
            ]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        expected = "a .jsonl or .jsonl.gz file with one question a line"
        raise InvalidInput(f"{path}: {error}", field="data", found=str(error), expected=expected) from error


def gold_source(record: Record) -> Source:
    """The record's own passage as the document to answer from."""
    return Source(record.id, 1, 0, len(record.context), record.context, record.title)


def predicted_text(answer: Answer) -> str:
    """What is compared with the gold answers: the answer, the best highlight, or nothing when it was not
    found.
    """
    if answer.text is not None:
        return answer.text
    return answer.sentences[0].text if answer.sentences else ""


class _GoldAnswer(msgspec.Struct):
    text: str


class _Line(msgspec.Struct):
    """One line of a QA file; what else it holds is not needed here. title: None in collections without
    titles.
    """

    id: str
    question: str
    context: str
    answers: list[_GoldAnswer]
    is_impossible: bool = False
    title: str | None = None


def _parse_record(path: Path, number: int, line: str) -> Record:
    try:
        parsed = msgspec.json.decode(line, type=_Line)
    except msgspec.MsgspecError as error:
        expected = "a JSON object with id, question, context, answers [{text}] and is_impossible"
        raise InvalidInput(
            f"{path}, line {number}: {error}; expected {expected}",
            field="data",
            found=str(error),
            expected=expected,
        ) from error
    answers = () if parsed.is_impossible else tuple(answer.text for answer in parsed.answers)
    return Record(parsed.id, parsed.question, parsed.context, parsed.title, answers)


def _open_text(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


def _answer_record(
    record: Record, answerer: Answerer, find_sources: FindSources, sampling: SamplingSettings
) -> Outcome:
    sources = find_sources(record)
    started = time.perf_counter()
    answer = _last_answer(answerer, record, sources, sampling, None)
    seconds = time.perf_counter() - started
    unrefused = answer
    if answer.status is AnswerStatus.NOT_FOUND and answer.confidence is not None:
        unrefused = _last_answer(answerer, record, sources, sampling, NEVER_REFUSE)
    return Outcome(record, answer, predicted_text(unrefused), _quotes_hold(answer, sources), seconds)


def _last_answer(
    answerer: Answerer,
    record: Record,
    sources: Sequence[Source],
    sampling: SamplingSettings,
    refuse_below: float | None,
) -> Answer:
    *_, answer = answerer.answer(record.question, sources, sampling, refuse_below=refuse_below)
    if not isinstance(answer, Answer):
        raise TypeError(f"the last event of an answer is {type(answer).__name__}, expected Answer")
    return answer


def _quotes_hold(answer: Answer, sources: Sequence[Source]) -> bool:
    """Whether every sentence is cited and every quote stands in a source at the offsets that the citation
    gives.
    """
    return all(sentence.supported for sentence in answer.sentences) and all(
        any(_stands_in(citation, source) for source in sources) for citation in answer.citations
    )


def _stands_in(citation: Citation, source: Source) -> bool:
    same = (citation.document_id, citation.version) == (source.document_id, source.version)
    start, end = citation.start - source.start, citation.end - source.start
    return same and 0 <= start < end and source.text[start:end] == citation.quote


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else math.nan


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
