"""Measure answers on questions with known answers."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from embeddings.errors import InvalidInput
from generation.answering import NEVER_REFUSE, Answerer
from generation.metrics import (
    auroc,
    calibration_error,
    exact_match,
    f1_score,
    holds_answer,
    precision_recall,
    rouge_l,
)
from generation.questions import Record
from generation.sampling import ANSWER_TOKENS, SamplingSettings
from generation.threshold import ScoredAnswer, best_f1_point, threshold_curve
from generation.types import Answer, AnswerStatus, Citation, Source

FindSources = Callable[[Record], Sequence[Source]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one question. unrefused: the prediction with refusal off, empty where the reader found
    none even so; seconds: of the first answer only.
    """

    record: Record
    answer: Answer
    unrefused: str
    quotes_hold: bool
    seconds: float

    def score(self, metric: Callable[[str, Sequence[str]], float]) -> float:
        """The metric of the prediction against the gold answers."""
        return metric(predicted_text(self.answer), self.record.answers)

    @property
    def scored(self) -> ScoredAnswer | None:
        """The answer with refusal off, by confidence; None where the reader told none."""
        if self.answer.confidence is None:
            return None
        answers = self.record.answers
        return ScoredAnswer(
            self.answer.confidence,
            f1_score(self.unrefused, answers),
            f1_score("", answers),
            given=bool(self.unrefused),
        )


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
        outcomes.append(
            answer_record(
                record, answerer, find_sources(record), sampling or SamplingSettings(max_tokens=ANSWER_TOKENS)
            )
        )
        if progress is not None:
            progress(done)
    return summarize(outcomes)


def summarize(outcomes: Sequence[Outcome]) -> dict[str, float | int | None]:
    """The figures of some outcomes; None where there is nothing to divide by.

    em, f1: SQuAD 2.0, over all questions, as rouge_l; answerable_*: over the answerable ones, _unrefused with
    refusal off, where held is the share of answers that hold a gold answer whole.
    refusal_*: precision and recall of not_found as a guess that a question is unanswerable. auroc: of the
    confidence, answerable against unanswerable; right_auroc: right against wrong answers, with refusal off,
    where ece is the calibration error of the confidence. best_threshold: the one of the highest F1 on these
    questions; best_threshold_f1: that F1. verified_quotes: share of the answers given of which every sentence
    is cited and every quote is what its document holds. seconds_per_answer: the mean, search not included;
    ms_p50, ms_p95: quantiles, in milliseconds.
    """
    answerable = [outcome for outcome in outcomes if outcome.record.answerable]
    given = [outcome for outcome in outcomes if outcome.answer.status is not AnswerStatus.NOT_FOUND]
    figures = {
        "em": _mean(outcome.score(exact_match) for outcome in outcomes),
        "f1": _mean(outcome.score(f1_score) for outcome in outcomes),
        "rouge_l": _mean(outcome.score(rouge_l) for outcome in outcomes),
        "answerable_em": _mean(outcome.score(exact_match) for outcome in answerable),
        "answerable_f1": _mean(outcome.score(f1_score) for outcome in answerable),
        "answerable_f1_unrefused": _mean(
            f1_score(outcome.unrefused, outcome.record.answers) for outcome in answerable
        ),
        "answerable_rouge_l_unrefused": _mean(
            rouge_l(outcome.unrefused, outcome.record.answers) for outcome in answerable
        ),
        "answerable_held_unrefused": _mean(
            holds_answer(outcome.unrefused, outcome.record.answers) for outcome in answerable
        ),
        **_refusal_figures(outcomes),
        **_confidence_figures([scored for outcome in outcomes if (scored := outcome.scored) is not None]),
        "verified_quotes": _mean(float(outcome.quotes_hold) for outcome in given),
        **_time_figures([outcome.seconds for outcome in outcomes]),
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


def _confidence_figures(scored: Sequence[ScoredAnswer]) -> dict[str, float]:
    """How far the confidence can be believed, and what it is good for."""
    given = [answer for answer in scored if answer.given]
    confidence, right = [answer.confidence for answer in given], [answer.right for answer in given]
    best = best_f1_point(threshold_curve(scored)) if scored else None
    return {
        "right_auroc": auroc(confidence, right),
        "ece": calibration_error(confidence, right),
        "best_threshold": math.nan if best is None else best.threshold,
        "best_threshold_f1": math.nan if best is None else best.f1,
    }


def _time_figures(seconds: Sequence[float]) -> dict[str, float]:
    p50, p95 = np.quantile(seconds, (0.5, 0.95)) * 1000
    return {"seconds_per_answer": _mean(seconds), "ms_p50": float(p50), "ms_p95": float(p95)}


def answer_record(
    record: Record, answerer: Answerer, sources: Sequence[Source], sampling: SamplingSettings
) -> Outcome:
    """Answer one question from these sources, and once more with refusal off when it was refused."""
    started = time.perf_counter()
    answer = _last_answer(answerer, record, sources, sampling, None)
    seconds = time.perf_counter() - started
    unrefused = answer
    refused = answer.status is AnswerStatus.NOT_FOUND and answer.confidence is not None
    if refused and answerer.refuse_below != NEVER_REFUSE:
        unrefused = _last_answer(answerer, record, sources, sampling, NEVER_REFUSE)
    return Outcome(record, answer, predicted_text(unrefused), _quotes_hold(answer, sources), seconds)


def predicted_text(answer: Answer) -> str:
    """What is compared with the gold answers: the answer, the best highlight, or nothing when it was not
    found.
    """
    if answer.text is not None:
        return answer.text
    return answer.sentences[0].text if answer.sentences else ""


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
