"""`footnote doctor`: check everything and say what to do."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failures import EXIT_FAILURE
from app.cli.output import AsJson, print_json, printable

if TYPE_CHECKING:
    from app.doctor.findings import Finding

_COLOURS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "problem": typer.colors.RED}


def doctor(
    full: Annotated[
        bool, typer.Option("--full", help="Also read every page and text; takes longer.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check settings, disk, database, models, documents and indexes, and say what to do; changes nothing."""
    from app.doctor.findings import Level

    found = []
    for finding in _examine(full):
        found.append(finding)
        if not as_json:
            _print(finding)
    damaged = any(finding.level == Level.PROBLEM for finding in found)
    if as_json:
        print_json({"ok": not damaged, "findings": found})
    if damaged:
        raise typer.Exit(EXIT_FAILURE)


def _examine(full: bool) -> "Iterator[Finding]":
    from app.doctor.examination import examine
    from app.doctor.findings import problem
    from app.settings import load_settings
    from embeddings.errors import InvalidInput

    try:
        settings = load_settings()
    except InvalidInput as error:
        yield problem("settings", error.message, error.next_step or "correct the settings")
        return
    yield from examine(settings, full)


def _print(finding: "Finding") -> None:
    level = typer.style(f"{finding.level:<8}", fg=_COLOURS[finding.level])
    typer.echo(f"{level}{finding.check}: {printable(finding.message)}")
    if finding.next_step is not None:
        typer.echo(f"        next: {printable(finding.next_step)}")
