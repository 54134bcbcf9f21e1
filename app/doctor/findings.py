"""What a check reports."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

NAMES_SHOWN = 5


class Level(StrEnum):
    """warning: Footnote works, and mends it or works worse for it; problem: something is lost or refused."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check. next_step: what to do; None when there is nothing to do."""

    check: str
    level: Level
    message: str
    next_step: str | None = None


def ok(check: str, message: str) -> Finding:
    return Finding(check, Level.OK, message)


def warning(check: str, message: str, next_step: str) -> Finding:
    return Finding(check, Level.WARNING, message, next_step)


def problem(check: str, message: str, next_step: str) -> Finding:
    return Finding(check, Level.PROBLEM, message, next_step)


def some_of(names: Sequence[object] | Iterable[object]) -> str:
    """The first few of many names."""
    listed = list(names)
    shown = ", ".join(map(str, listed[:NAMES_SHOWN]))
    return shown if len(listed) <= NAMES_SHOWN else f"{shown} and {len(listed) - NAMES_SHOWN:,} more"
