import re

import pytest

from app.pages.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    MAX_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    draw_stage,
    smoothed,
    thinned,
    ticks,
)
from app.services.training_types import LossCurve


def curve(losses: list[float], metrics: dict[int, float] | None = None) -> LossCurve:
    points = [{"step": step, "loss": loss} for step, loss in enumerate(losses, 1)]
    return LossCurve("round-1", (*points, *({"step": s, "metric": m} for s, m in (metrics or {}).items())))


def coordinates(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+) ([^ML]+)", path)]


def test_curve_falls_from_the_upper_left_to_the_lower_right() -> None:
    chart = draw_stage(curve([4.0, 2.0, 1.0, 0.0])).loss
    assert chart is not None
    assert coordinates(chart.raw)[0] == (LEFT, TOP)
    assert coordinates(chart.raw)[-1] == (WIDTH - RIGHT, HEIGHT - BOTTOM)


@pytest.mark.parametrize(
    "losses", [[0.7, 0.1, 3.0, 1e-6], [5.0, 5.0], [-2.0, -7.0], [1e-9, 3e-9], [0.0, 0.0]]
)
def test_everything_is_drawn_within_the_frame(losses: list[float]) -> None:
    chart = draw_stage(curve(losses)).loss
    assert chart is not None
    for across, up in (*coordinates(chart.raw), *coordinates(chart.smooth)):
        assert LEFT <= across <= WIDTH - RIGHT
        assert TOP <= up <= HEIGHT - BOTTOM
    assert all(TOP <= tick.at <= HEIGHT - BOTTOM for tick in chart.up)


def test_one_point_is_no_curve() -> None:
    assert draw_stage(curve([1.0])).loss is None
    assert draw_stage(LossCurve("round-1", ())).loss is None


def test_losses_that_are_no_numbers_are_left_out() -> None:
    chart = draw_stage(curve([1.0, float("nan"), float("inf"), 0.5])).loss
    assert chart is not None
    assert len(coordinates(chart.raw)) == 2


def test_metric_is_drawn_where_it_was_measured() -> None:
    charts = draw_stage(curve([1.0, 0.9, 0.8], {0: 0.5, 3: 0.75}))
    assert charts.metric is not None
    assert (charts.metric.first, charts.metric.last, charts.metric.best) == (0.5, 0.75, 0.75)
    assert len(coordinates(charts.metric.raw)) == 2


def test_smoothing_starts_at_the_first_value_and_keeps_a_constant() -> None:
    assert [value for _, value in smoothed([(1, 3.0), (2, 3.0), (3, 3.0)])] == pytest.approx([3, 3, 3])
    assert smoothed([(1, 3.0), (2, 5.0)])[0] == (1, pytest.approx(3.0))


def test_long_curves_are_thinned_to_their_ends() -> None:
    points = [(float(step), 0.0) for step in range(10_001)]
    kept = thinned(points)
    assert len(kept) <= MAX_POINTS + 1
    assert (kept[0], kept[-1]) == (points[0], points[-1])


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.5, 1]), (0.13, 0.94, [0, 0.5, 1]), (1, 36, [0, 10, 20, 30, 40]), (2, 2, [2])],
)
def test_axes_have_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)
