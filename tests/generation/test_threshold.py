"""The refusal threshold that suits labelled answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generation.threshold import (
    ScoredAnswer,
    best_f1_point,
    held_out_f1,
    measure_threshold,
    precise_point,
    threshold_curve,
)


def answered(confidence: float, f1: float) -> ScoredAnswer:
    return ScoredAnswer(confidence, f1, 0.0)


def unanswerable(confidence: float) -> ScoredAnswer:
    return ScoredAnswer(confidence, 0.0, 1.0)


ANSWERS = [answered(0.9, 1.0), unanswerable(0.2), answered(0.4, 0.6), unanswerable(0.6)]


def test_the_curve_is_that_worked_out_by_hand() -> None:
    curve = threshold_curve(ANSWERS)
    assert [(p.threshold, p.answers, p.answered, p.f1, p.precision) for p in curve] == [
        (0.0, 4, 1.0, pytest.approx(1.6 / 4), 2 / 4),
        (pytest.approx(0.3), 3, 0.75, pytest.approx(2.6 / 4), 2 / 3),
        (pytest.approx(0.5), 2, 0.5, pytest.approx(2.0 / 4), 1 / 2),
        (pytest.approx(0.75), 1, 0.25, pytest.approx(3.0 / 4), 1.0),
        (pytest.approx(0.95), 0, 0.0, pytest.approx(2.0 / 4), 0.0),
    ]
    assert best_f1_point(curve) == curve[3]


def test_of_equal_thresholds_the_one_that_answers_most_is_best() -> None:
    curve = threshold_curve([answered(0.3, 1.0), answered(0.8, 1.0)])
    assert best_f1_point(curve).threshold == 0.0


def test_precision_is_reached_at_the_lowest_threshold_that_enough_answers_back() -> None:
    answers = [answered(0.1 + i / 100, 1.0 if i >= 20 else 0.0) for i in range(40)]
    point = precise_point(threshold_curve(answers), 0.8, least_answers=10)
    assert point is not None
    assert point.answers == 25
    assert point.precision == pytest.approx(20 / 25)
    assert precise_point(threshold_curve(answers), 0.8, least_answers=30) is None


def test_what_the_reader_did_not_write_is_no_answer_at_any_threshold() -> None:
    silent = ScoredAnswer(0.9, 1.0, 1.0, given=False)
    curve = threshold_curve([silent, answered(0.5, 1.0)])
    assert (curve[0].answers, curve[0].f1, curve[0].precision) == (1, 1.0, 1.0)
    assert not silent.right


def test_a_reader_that_is_wholly_sure_cannot_be_kept_from_answering() -> None:
    assert [point.answers for point in threshold_curve([unanswerable(1.0), unanswerable(0.5)])] == [2, 1]


def test_held_out_f1_is_lower_where_the_threshold_follows_noise() -> None:
    noise = [answered(i / 50, float(i * 7919 % 13 > 6)) if i % 2 else unanswerable(i / 50) for i in range(50)]
    assert held_out_f1(noise) < best_f1_point(threshold_curve(noise)).f1


def test_held_out_f1_equals_the_best_where_the_threshold_is_plain() -> None:
    plain = [answered(0.9, 1.0) if i % 2 else unanswerable(0.1) for i in range(20)]
    assert held_out_f1(plain) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="3 answers"):
        held_out_f1(plain[:3])


@given(
    st.lists(
        st.builds(
            ScoredAnswer,
            st.sampled_from((0.0, 0.1, 0.25, 0.5, 0.9, 1.0)) | st.floats(0, 1),
            st.sampled_from((0.0, 0.5, 1.0)),
            st.sampled_from((0.0, 1.0)),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_every_point_tells_what_refusing_below_it_gives(answers: list[ScoredAnswer]) -> None:
    curve = threshold_curve(answers)
    assert [point.threshold for point in curve] == sorted({point.threshold for point in curve})
    for point in curve:
        direct = measure_threshold(answers, point.threshold)
        assert (point.answers, point.answered) == (direct.answers, pytest.approx(direct.answered))
        assert (point.f1, point.precision) == (pytest.approx(direct.f1), pytest.approx(direct.precision))


def test_neighbouring_confidences_are_still_told_apart() -> None:
    sure = 0.7
    surer = float(np.nextafter(sure, 1))
    curve = threshold_curve([unanswerable(sure), answered(surer, 1.0)])
    assert [point.answers for point in curve] == [2, 1, 0]


def test_thresholds_have_few_digits() -> None:
    curve = threshold_curve([unanswerable(0.1234567), answered(0.6543219, 1.0)])
    assert [point.threshold for point in curve] == [0.0, 0.39, 0.83]
