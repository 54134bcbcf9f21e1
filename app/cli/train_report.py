"""How a training's report is shown to people: before and after, and why it is promoted or not."""

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from app.cli.output import print_table

_HEADERS = ("set", "measure", "examples", "before", "after", "gain", "at least")


def print_report(report: Mapping[str, Any]) -> None:
    """Show a table of every set, in points of its measure, and the verdict."""
    print_table(_HEADERS, list(_rows(report)))
    verdict = "The new encoder is better." if report["promote"] else "The new encoder is not put in service."
    typer.echo("\n".join(["", verdict, *(f"- {reason}" for reason in report["reasons"])]))


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    sets = {"held-out": report["domain"], **report.get("general", {})}
    for name, judged in sets.items():
        figures = (f"{judged[each]:.1f}" for each in ("old", "new"))
        gains = (f"{judged[each]:+.1f}" for each in ("gain", "gain_at_least"))
        yield (name, judged["measure"], str(judged["examples"]), *figures, *gains)
