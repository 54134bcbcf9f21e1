"""Loss curves as lines of an SVG that the server draws: no script, and readable when printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor, isfinite, log10

from app.services.training_types import LossCurve

Point = tuple[float, float]

WIDTH, HEIGHT = 640, 220
# Room for the numbers at the axes, in the units of the drawing.
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 10, 28
TICKS = 4
# Of the mean that smooths: the losses of single batches jump.
SMOOTHING = 0.8
# More points than this cannot be told apart in the drawing.
MAX_POINTS = 600


@dataclass(frozen=True, slots=True)
class Tick:
    """A number at an axis. at: where, in the units of the drawing."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Chart:
    """One curve. raw, smooth: `d` of SVG paths; first, last: smoothed values; digits: of `up`."""

    raw: str
    smooth: str
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    digits: int
    first: float
    last: float
    best: float
    steps: int


@dataclass(frozen=True, slots=True)
class StageCharts:
    """The curves of one stage of a training. loss, metric: None where nothing was measured."""

    stage: str
    loss: Chart | None
    metric: Chart | None


def draw_stage(curve: LossCurve) -> StageCharts:
    """The loss and the validation metric of a stage, each by the step."""
    losses, metrics = _series(curve.points, "loss"), _series(curve.points, "metric")
    return StageCharts(curve.stage, draw(losses, smoothed(losses)), draw(metrics, metrics))


def draw(points: Sequence[Point], line: Sequence[Point]) -> Chart | None:
    """A chart of the points with a line; None for fewer than two of them."""
    if len(points) < 2:
        return None
    steps, values = [step for step, _ in points], [value for _, value in points]
    up = ticks(min(values), max(values))
    low, high = min(up[0], *values), max(up[-1], *values)
    first, last = steps[0], steps[-1]

    def place(point: Point) -> Point:
        across = LEFT + (WIDTH - LEFT - RIGHT) * (point[0] - first) / (last - first or 1)
        return across, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (point[1] - low) / (high - low or 1)

    return Chart(
        raw=_path([place(point) for point in thinned(points)]),
        smooth=_path([place(point) for point in thinned(line)]),
        across=tuple(Tick(place((step, low))[0], step) for step in _steps(first, last)),
        up=tuple(Tick(place((first, value))[1], value) for value in up),
        digits=_digits(up),
        first=line[0][1],
        last=line[-1][1],
        best=max(values),
        steps=int(last),
    )


def smoothed(points: Sequence[Point], weight: float = SMOOTHING) -> list[Point]:
    """Exponential moving mean, corrected for its beginning. Source: Kingma and Ba, ICLR 2015, section 3."""
    result, mean, power = [], 0.0, 1.0
    for step, value in points:
        mean, power = weight * mean + (1 - weight) * value, power * weight
        result.append((step, mean / (1 - power)))
    return result


def thinned(points: Sequence[Point], limit: int = MAX_POINTS) -> Sequence[Point]:
    """At most about so many of the points, evenly taken, the last among them."""
    stride = -(-len(points) // limit)
    kept = points[::stride]
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """Round numbers that span low to high, about `count` of them."""
    step = _round_step((high - low) / count) if high > low else (abs(high) or 1.0)
    first = floor(low / step + 1e-9) * step
    found = [first]
    while found[-1] < high - step * 1e-9:
        found.append(first + len(found) * step)
    return found


def _steps(first: float, last: float) -> list[float]:
    """The whole numbers of `ticks` that lie on the axis."""
    return [each for each in ticks(first, last) if first <= each <= last and each == int(each)]


def _round_step(step: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** floor(log10(step))
    return next((factor * power for factor in (1, 2, 5) if step <= factor * power * (1 + 1e-9)), 10 * power)


def _digits(values: Sequence[float]) -> int:
    step = min((after - before for before, after in pairwise(values)), default=1.0)
    return max(0, -floor(log10(step) + 1e-9))


def _series(points: Sequence[Mapping[str, float]], name: str) -> list[Point]:
    """What was measured of one quantity; what is no number, such as the loss of a run that went astray, is
    left out.
    """
    found = [(float(point["step"]), float(point[name])) for point in points if name in point]
    return [point for point in found if isfinite(point[1])]


def _path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{across:.1f} {up:.1f}" for across, up in points)
