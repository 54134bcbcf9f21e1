"""How a finished decoder's confidence is fitted: what is asked, what is right, which signals are kept."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from embeddings.artifact import TOKENIZER, WEIGHTS, load_manifest
from embeddings.errors import InvalidInput
from generation.confidence import SIGNAL_NAMES, ConfidenceModel, Signals
from generation.decoder import DecoderSpec
from generation.sampling import SamplingSettings
from generation.threshold import ScoredAnswer
from generation.types import Passage, Reading
from tests.training.decoder_fixtures import TINY_LAYOUT, TINY_SHAPE
from training.confidence_selection import Judged, select_signals, split_groups
from training.decoder_bundle import describe
from training.decoder_confidence import (
    FittedConfidence,
    ask_variants,
    fit_judged,
    judge,
    judge_all,
    signal_areas,
    worth,
    write_confidence,
)
from training.decoder_data import QaRecord

CONTEXT = "The bridge was built in 1871. The tower is old."


def record(number: int, group: str, answerable: bool = True) -> QaRecord:
    context = f"{CONTEXT} Note {number} of {group}."
    start = context.index("1871")
    return QaRecord("When was it built?", context, group, ((start, start + 4),) if answerable else ())


class TellingReader:
    """Answers 1871 from the first passage that holds it; its signals are drawn from that passage."""

    model_id = "telling@test"
    passage_limit = 5

    def __init__(self) -> None:
        self.asked: list[Sequence[Passage]] = []

    def read(
        self,
        question: str,
        passages: Sequence[Passage],
        sampling: SamplingSettings,
        *,
        refuse_below: float | None,
        cancelled: Callable[[], bool],
    ) -> Iterator[str | Reading]:
        assert refuse_below is None
        self.asked.append(passages)
        start = passages[0].text.index("1871")
        noise = np.random.default_rng(zlib.crc32(passages[0].text.encode()))
        signals = Signals(float(noise.normal()), 0.0, -1.0, 1.0, 0.5, 1.0, float(len(passages)), 0.0)
        yield Reading(1, start, start + 4, "1871", 0.7, 3, 20, "stop", signals)


def judged(count: int, seed: int = 0) -> list[Judged]:
    """Answers whose rightness follows two signals; the others are noise."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        values = dict(zip(SIGNAL_NAMES, rng.normal(size=len(SIGNAL_NAMES)).tolist(), strict=True))
        chance = 1 / (1 + np.exp(-(2 * values["verdict_logit"] + values["margin"])))
        right = bool(rng.random() < chance)
        answer = ScoredAnswer(0.5, float(right), 0.0 if right else float(rng.random() < 0.8))
        found.append(Judged(Signals(**values), answer, f"group-{number % 20}", answer.refused_f1 == 0.0))
    return found


def told_by_coverage(each: Judged) -> Judged:
    return replace(each, signals=replace(each.signals, coverage=float(each.answer.right)))


def test_signals_that_tell_something_are_kept_and_noise_is_dropped() -> None:
    selection = select_signals(judged(1_200))
    assert {"verdict_logit", "margin"} <= set(selection.names)
    assert len(selection.names) <= 4


def test_coverage_is_not_weighed_because_it_tells_kinds_of_questions_apart() -> None:
    assert "coverage" not in select_signals([told_by_coverage(each) for each in judged(600)]).names


def test_figures_are_out_of_fold_and_better_than_what_the_decoder_told() -> None:
    fitted = fit_judged(judged(1_200))
    figures = fitted.figures
    assert figures["right_auroc"] > 0.8
    assert figures["right_auroc_before"] == 0.5
    assert figures["ece"] < 0.05
    assert figures["f1_at_threshold"] > figures["f1_unrefused"]
    assert 0.2 < fitted.refuse_below < 0.8
    assert figures["questions"] == 1_200


def test_noise_alone_gives_no_credit_out_of_fold() -> None:
    noise = [
        Judged(
            each.signals, ScoredAnswer(0.5, float(place % 2), float(1 - place % 2)), each.group, place % 2 > 0
        )
        for place, each in enumerate(judged(600))
    ]
    assert abs(fit_judged(noise).figures["right_auroc"] - 0.5) < 0.08


def test_groups_are_never_split_and_folds_are_of_like_size() -> None:
    groups = [f"g{number}" for number in range(12) for _ in range(number + 1)]
    folds = split_groups(groups)
    assert all(
        len({fold for fold, each in zip(folds, groups, strict=True) if each == g}) == 1 for g in groups
    )
    sizes = np.bincount(folds)
    assert len(sizes) == 5
    assert sizes.max() - sizes.min() <= 3
    with pytest.raises(InvalidInput, match="2 groups"):
        split_groups(["a", "b", "a"])


def test_questions_are_asked_alone_beside_others_and_without_their_passage() -> None:
    records = [record(number, "bridges") for number in range(200)]
    different = [QaRecord("Why?", f"No year here, note {n}.", "bridges", ()) for n in range(5)]
    asked = list(ask_variants([*records, *different]))
    alone = [each for each in asked if each[1] == (each[0].context,)]
    beside = [each for each in asked if len(each[1]) > 1 and each[0].context in each[1]]
    without = [each for each in asked if each[0].context not in each[1]]
    altered = [each for each in alone if each[0].plausible]
    assert len(alone) == 205 + len(altered)
    assert altered
    assert all(not each.answers and each.question != "When was it built?" for each, _ in altered)
    assert 70 < len(beside) < 140
    assert 5 < len(without) < 40
    assert all(not asked_record.answers for asked_record, _ in without)
    assert all("1871" not in text for _, texts in without for text in texts)
    assert list(ask_variants([*records, *different])) == asked


def test_answer_is_judged_by_its_words() -> None:
    right = judge(TellingReader(), (record(1, "a"), (record(1, "a").context,)))
    wrong = judge(TellingReader(), (record(1, "a", answerable=False), (record(1, "a").context,)))
    assert right is not None
    assert wrong is not None
    assert (right.answer.right, right.answerable, right.answer.refused_f1) == (True, True, 0.0)
    assert (wrong.answer.right, wrong.answerable, wrong.answer.refused_f1) == (False, False, 1.0)


def test_wrong_answer_to_an_answerable_question_is_worth_something() -> None:
    def credit(f1: float, answerable: bool) -> float:
        return Judged(judged(1)[0].signals, ScoredAnswer(0.5, f1, 0.0), "g", answerable).credit

    assert credit(0.8, True) == 1.0
    assert 0 < credit(0.2, True) < 1
    assert credit(0.0, False) == 0.0


@pytest.mark.parametrize(
    ("text", "gold", "whole", "expected"),
    [
        ("The bridge was built in 1871.", ["1871"], True, 1.0),
        ("The bridge was built in 1871.", ["1871"], False, 1 / 3),
        ("The bridge was built.", ["1871"], True, 0.0),
        ("The bridge was built.", [], True, 0.0),
    ],
)
def test_whole_sentence_is_right_when_it_holds_the_span(
    text: str, gold: list[str], whole: bool, expected: float
) -> None:
    assert worth(text, gold, whole=whole) == pytest.approx(expected)


def test_reader_without_signals_or_with_too_long_a_question_is_left_out() -> None:
    class Refusing(TellingReader):
        def read(self, *_: object, **__: object) -> Iterator[str | Reading]:
            raise InvalidInput("too long", field="question")

    class Silent(TellingReader):
        def read(self, *_: object, **__: object) -> Iterator[str | Reading]:
            yield Reading(1, 0, 3, "The", 0.7, 3, 20, "stop")

    asked = (record(1, "a"), (CONTEXT,))
    assert judge(Refusing(), asked) is None
    assert judge(Silent(), asked) is None


def test_areas_are_told_for_each_signal_alone() -> None:
    areas = signal_areas(judged(2_000))
    assert areas["verdict_logit"] > 0.8
    assert abs(areas["tokens"] - 0.5) < 0.05


def test_progress_counts_every_answer() -> None:
    told: list[int] = []
    found = judge_all(TellingReader(), [record(number, "a") for number in range(3)], told.append)
    assert told == list(range(1, len(found) + 1))


def test_manifest_gets_model_threshold_and_figures_and_nothing_else_changes(tmp_path: Path) -> None:
    for name in (WEIGHTS, TOKENIZER):
        (tmp_path / name).write_bytes(name.encode())
    describe(tmp_path, TINY_SHAPE, "int8", {"int8_f1": 0.6}, TINY_LAYOUT)
    before = load_manifest(tmp_path)
    model = ConfidenceModel({"verdict_logit": 0.5}, -0.25)
    write_confidence(tmp_path, FittedConfidence(model, 0.37, {"ece": 0.02}))
    after = load_manifest(tmp_path)
    spec = msgspec.convert(after.graph, DecoderSpec)
    assert (spec.confidence, spec.refuse_below, spec.layout) == (model, 0.37, TINY_LAYOUT)
    assert after.parity == {"int8_f1": 0.6, "confidence_ece": 0.02}
    assert (after.files, after.model_id) == (before.files, before.model_id)
