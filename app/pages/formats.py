"""Numbers, times and texts as people read them, as filters of the templates."""

import re
from datetime import UTC, datetime
from itertools import pairwise

from babel import Locale
from babel.dates import format_datetime, format_timedelta
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit
from jinja2 import pass_context
from jinja2.runtime import Context

_UNITS = ("B", "kB", "MB", "GB", "TB")
# A line break after a line of so many characters is where an editor or a PDF wrapped it, unless the next line
# begins a list, a heading, a table or a paragraph.
_LONG_LINE = 60
_BEGINS_ANEW = re.compile(r"[\s#>*|+\-\d]|$")
_SHARE = re.compile(r"\d+%")


@pass_context
def number(context: Context, value: float, digits: int = 0) -> str:
    """A number in the page's language: 12 345. digits: after the point."""
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return format_decimal(value, format=pattern, locale=context["language"])


@pass_context
def percent(context: Context, value: float, digits: int = 0) -> str:
    """A share from 0 to 1 as a percentage in the page's language."""
    usual = Locale.parse(context["language"]).percent_formats[None].pattern
    pattern = usual.replace("0", "0." + "0" * digits, 1) if digits else usual
    return format_percent(value, format=pattern, locale=context["language"])


@pass_context
def when(context: Context, value: datetime, form: str = "medium") -> str:
    """A time, in UTC, as the page's language writes it. form: short, medium or long."""
    moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    text = format_datetime(moment.astimezone(UTC), form, locale=context["language"])
    return text if form == "long" else text + " UTC"


@pass_context
def duration(context: Context, seconds: float) -> str:
    """A duration in its largest unit: 5 minutes. seconds: below one they are told in milliseconds."""
    if seconds < 1:
        return format_unit(round(seconds * 1000), "duration-millisecond", "short", locale=context["language"])
    return format_timedelta(round(seconds), threshold=1.5, locale=context["language"])


@pass_context
def size(context: Context, count: int) -> str:
    """A number of bytes in the largest unit that leaves it above one: 1.5 MB."""
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:  # noqa: B007  the unit that the loop ends with is the answer
        if value < 1000:
            break
        value /= 1000
    shown = format_decimal(value, format="#,##0.#" if unit != "B" else "#,##0", locale=context["language"])
    return f"{shown} {unit}"


@pass_context
def told(context: Context, text: str) -> str:
    """A sentence of the service in the page's language, where its catalogue has it with %(share)s in place of
    its percentages.
    """
    shares = _SHARE.findall(text)
    translated = str(context["translations"].gettext(_SHARE.sub("%(share)s", text)))
    for share in shares:
        translated = translated.replace("%(share)s", share, 1)
    return translated


def reflow(text: str) -> str:
    """The text with a space in place of each break that only wraps a long line; offsets stay as they are."""
    lines = text.split("\n")
    parts = [lines[0]]
    for before, line in pairwise(lines):
        wrapped = len(before) >= _LONG_LINE and not _BEGINS_ANEW.match(line)
        parts += [" " if wrapped else "\n", line]
    return "".join(parts)


FILTERS = {
    "number": number,
    "percent": percent,
    "when": when,
    "duration": duration,
    "size": size,
    "reflow": reflow,
    "told": told,
}
