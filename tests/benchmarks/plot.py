"""Bar charts as SVG, without a plotting library."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABEL, BAR, GAP, TITLE = 760, 210, 18, 6, 34
OURS, THEIRS = "#1f6f54", "#9aa5a1"


@dataclass(frozen=True, slots=True)
class Bar:
    """A labelled value; ours: drawn in the colour that stands out."""

    label: str
    value: float
    ours: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars that share a scale from zero. title: with the unit."""

    title: str
    bars: tuple[Bar, ...]

    @property
    def height(self) -> int:
        return TITLE + len(self.bars) * (BAR + GAP) + GAP


def bar_chart(panels: Sequence[Panel]) -> str:
    """One SVG with the panels below each other."""
    height = sum(panel.height for panel in panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    top = 0
    for panel in panels:
        parts += _panel(panel, top)
        top += panel.height
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, top: int) -> list[str]:
    longest = max((bar.value for bar in panel.bars), default=0) or 1
    scale = (WIDTH - LABEL - 80) / longest
    lines = [f'<text x="8" y="{top + 22}" font-weight="bold" fill="#222222">{escape(panel.title)}</text>']
    for place, bar in enumerate(panel.bars):
        lines += _bar(bar, top + TITLE + place * (BAR + GAP), bar.value * scale)
    return lines


def _bar(bar: Bar, y: int, length: float) -> list[str]:
    text, colour = y + BAR - 5, OURS if bar.ours else THEIRS
    return [
        f'<text x="{LABEL - 8}" y="{text}" text-anchor="end" fill="#222222">{escape(bar.label)}</text>',
        f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>',
        f'<text x="{LABEL + length + 6:.1f}" y="{text}" fill="#222222">{bar.value:,.0f}</text>',
    ]
