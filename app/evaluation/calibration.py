"""The refusal threshold of a collection, fitted to labelled questions."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from anyio import to_thread

from app.resources import Resources
from app.services.answers import source_of
from app.services.types import CollectionInfo, SearchInput
from embeddings.errors import FootnoteError, InvalidInput
from generation.answering import Answerer
from generation.evaluation import answer_record
from generation.questions import Record, gold_source, read_records
from generation.sampling import ANSWER_TOKENS, SamplingSettings
from generation.threshold import (
    ScoredAnswer,
    ThresholdPoint,
    best_f1_point,
    held_out_f1,
    measure_threshold,
    precise_point,
    threshold_curve,
)
from generation.types import Source

Target = Literal["f1", "precision"]
Progress = Callable[[str, int, int], None]

# With 50 answers a share is known to within 14 points (95 %); with fewer a threshold follows chance.
MIN_QUESTIONS = 50
# Refusals are learnt from these alone.
MIN_UNANSWERABLE = 10
# Fewer answers than that prove no precision.
MIN_ANSWERS = 20


@dataclass(frozen=True, slots=True)
class CalibrationTask:
    """What to fit, and to what. gold: answer each question from its own passage instead of searching the
    collection. precision: share of right answers to reach, 0 to 1, for the target precision.
    passages: to answer from, when searching. limit: the first questions only. apply: put the threshold into
    the collection's settings.
    """

    data: Path
    gold: bool = False
    target: Target = "f1"
    precision: float = 0.9
    passages: int = 5
    limit: int | None = None
    apply: bool = True


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was found. questions: that were answered, of them `unanswerable` without an answer; skipped: that
    the decoder told no confidence for. present, chosen: what the threshold in service and the fitted one give
    on these questions. held_out_f1: F1 when each question is judged by the best threshold of others.
    """

    collection: str
    target: Target
    questions: int
    unanswerable: int
    skipped: int
    present: ThresholdPoint
    chosen: ThresholdPoint
    held_out_f1: float
    curve: tuple[ThresholdPoint, ...]
    applied: bool


async def calibrate(
    resources: Resources, collection: str, task: CalibrationTask, progress: Progress
) -> Calibration:
    """Answer the questions with refusal off, fit the threshold, and set it unless the task says otherwise.

    Raises NotFound for the collection, InvalidInput for a file of another form, too few questions, or a
    precision out of reach, FootnoteError without a decoder. Nothing is changed then.
    """
    info = await resources.collections.get(collection)
    records = _read(task)
    answerer = _answerer(resources, info)
    sources = await _find_sources(resources, info, task, records, progress)
    outcomes = await to_thread.run_sync(
        _answer_all, records, sources, answerer.never_refusing(), resources.models.answers_at_once, progress
    )
    scored = [answer for answer in outcomes if answer is not None]
    _check_scored(scored, len(records), task)
    threshold = info.settings.refusal_threshold
    present = measure_threshold(scored, answerer.refuse_below if threshold is None else threshold)
    curve = threshold_curve(scored)
    chosen = _choose(curve, task)
    if task.apply:
        await _apply(resources, collection, chosen.threshold)
    return Calibration(
        collection,
        task.target,
        len(scored),
        sum(map(_is_unanswerable, scored)),
        len(records) - len(scored),
        present,
        chosen,
        held_out_f1(scored),
        tuple(curve),
        task.apply,
    )


def _read(task: CalibrationTask) -> list[Record]:
    records = read_records(task.data, task.limit, passages=task.gold)
    _check_counts(len(records), sum(not record.answerable for record in records), task)
    return records


def _answerer(resources: Resources, info: CollectionInfo) -> Answerer:
    if resources.reader is None:
        raise FootnoteError(
            "there is no decoder whose refusals could be calibrated",
            found="no decoder",
            expected="the bundled decoder, or one of your own",
            next_step="train one with footnote train decoder, or set FOOTNOTE_DECODER",
        )
    return resources.answerer.prompted(info.settings.prompt)


async def _find_sources(
    resources: Resources,
    info: CollectionInfo,
    task: CalibrationTask,
    records: Sequence[Record],
    progress: Progress,
) -> list[list[Source]]:
    if task.gold:
        return [[gold_source(record)] for record in records]
    if not info.documents:
        raise InvalidInput(
            f"the collection {info.name!r} has no documents to search",
            field="collection",
            found="0 documents",
            expected="the documents that it will answer from",
            next_step=f"footnote ingest PATH --collection {info.name}, or --gold: the passages of the file",
        )
    found = []
    for done, record in enumerate(records, start=1):
        wanted = SearchInput(record.question, limit=task.passages)
        output = await resources.search.search(info.name, wanted)
        found.append([source_of(hit) for hit in output.hits])
        progress("searches", done, len(records))
    return found


def _answer_all(
    records: Sequence[Record],
    sources: Sequence[Sequence[Source]],
    answerer: Answerer,
    at_once: int,
    progress: Progress,
) -> list[ScoredAnswer | None]:
    """As many at a time as the decoder takes."""

    def answer(record: Record, passages: Sequence[Source]) -> ScoredAnswer | None:
        return answer_record(record, answerer, passages, SamplingSettings(max_tokens=ANSWER_TOKENS)).scored

    with ThreadPoolExecutor(at_once, thread_name_prefix="calibrate") as threads:
        try:
            return list(_counted(threads.map(answer, records, sources), len(records), progress))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _counted(
    answers: Iterator[ScoredAnswer | None], total: int, progress: Progress
) -> Iterator[ScoredAnswer | None]:
    for done, answer in enumerate(answers, start=1):
        yield answer
        progress("questions", done, total)


def _check_scored(scored: Sequence[ScoredAnswer], asked: int, task: CalibrationTask) -> None:
    if not scored:
        raise InvalidInput(
            f"the decoder told no confidence for any of the {asked} questions",
            field="data",
            found="no confidence",
            expected="a decoder that tells probabilities, and questions in a language that it knows",
            next_step="see `confidence` in the replies of footnote ask",
        )
    skipped = asked - len(scored)
    note = f" ({skipped} others got no confidence)" if skipped else ""
    _check_counts(len(scored), sum(map(_is_unanswerable, scored)), task, note)


def _check_counts(questions: int, unanswerable: int, task: CalibrationTask, note: str = "") -> None:
    if questions < MIN_QUESTIONS:
        raise InvalidInput(
            f"{questions} questions are too few to fit a threshold to{note}",
            field="data",
            found=f"{questions} questions",
            expected=f"at least {MIN_QUESTIONS}; a few hundred are better",
        )
    if task.target == "f1" and unanswerable < MIN_UNANSWERABLE:
        raise InvalidInput(
            f"{unanswerable} of the {questions} questions have no answer{note}: F1 only gains from a refusal "
            "where there is nothing to find, so without such questions the best threshold is 0",
            field="data",
            found=f"{unanswerable} questions without an answer",
            expected=f'at least {MIN_UNANSWERABLE}, each with "answers": [] and "is_impossible": true',
            next_step="add questions whose answer is missing, or use --target precision",
        )


def _choose(curve: Sequence[ThresholdPoint], task: CalibrationTask) -> ThresholdPoint:
    if task.target == "f1":
        return best_f1_point(curve)
    point = precise_point(curve, task.precision, MIN_ANSWERS)
    if point is not None:
        return point
    proven = [each for each in curve if each.answers >= MIN_ANSWERS]
    best = max(proven, key=lambda each: each.precision, default=None)
    raise InvalidInput(
        f"no threshold makes {task.precision:.0%} of at least {MIN_ANSWERS} answers right",
        field="precision",
        found="fewer answers" if best is None else f"{best.precision:.1%} at {best.threshold:g}, the most",
        expected=f"{task.precision:.1%}",
        next_step="ask for less, give more questions, or use a better decoder",
    )


async def _apply(resources: Resources, collection: str, threshold: float) -> None:
    """Settings are read again: they may have changed while the questions were answered."""
    settings = (await resources.collections.get(collection)).settings
    await resources.collections.update(collection, replace(settings, refusal_threshold=threshold))


def _is_unanswerable(answer: ScoredAnswer) -> bool:
    return answer.refused_f1 == 1.0
