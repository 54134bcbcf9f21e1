"""`footnote calibrate`: when a collection's answers are withheld, fitted to labelled questions."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.output import AsJson, print_json, print_table
from app.cli.progress import progress_bar
from app.cli.session import run_with_resources

if TYPE_CHECKING:
    from app.evaluation.calibration import Calibration
    from generation.threshold import ThresholdPoint

SHOWN_POINTS = 20


def calibrate(  # noqa: PLR0913, PLR0917  # each parameter is an option
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    data: Annotated[Path, typer.Option(help="Questions with their answers, .jsonl or .jsonl.gz.")],
    gold: Annotated[
        bool,
        typer.Option(
            "--gold/--retrieve", help="Answer from the passages of the file, or from the collection's."
        ),
    ] = False,
    target: Annotated[
        Literal["f1", "precision"], typer.Option(help="The best F1, or answers that are right often enough.")
    ] = "f1",
    precision: Annotated[
        float, typer.Option(min=0, max=1, help="With --target precision: share of answers to be right.")
    ] = 0.9,
    passages: Annotated[
        int, typer.Option(min=1, max=20, help="How many of the best passages to answer from.")
    ] = 5,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first questions.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be set; change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Fit the refusal threshold of a collection to questions."""
    from app.evaluation.calibration import CalibrationTask
    from app.evaluation.calibration import calibrate as fit

    task = CalibrationTask(data, gold, target, precision, passages, limit, apply=not dry_run)
    with progress_bar(hidden=as_json) as show:
        found = run_with_resources(lambda resources: fit(resources, collection, task, show))
    if as_json:
        print_json(found)
    else:
        _print_calibration(found)


def _print_calibration(found: "Calibration") -> None:
    typer.echo(
        f"{found.questions} questions, {found.unanswerable} of them without an answer; "
        "an answer is right when it shares half of its words with a given one (F1 of at least .5)"
    )
    rows = [*map(_row, thin(found.curve)), _row(found.present, "in service"), _row(found.chosen, "fitted")]
    print_table(("", "threshold", "answered", "F1", "right of the answers"), rows)
    if found.skipped:
        typer.echo(f"{found.skipped} questions were left out: the decoder told no confidence for them.")
    if found.target == "f1":
        typer.echo(f"F1 on questions that the threshold was not fitted to: {found.held_out_f1:.4f}")
    typer.echo(_verdict(found))


def _row(point: "ThresholdPoint", name: str = "") -> tuple[str, ...]:
    right = f"{point.precision:.4f}" if point.answers else ""
    return name, f"{point.threshold:.6g}", f"{point.answered:.1%}", f"{point.f1:.4f}", right


def thin(curve: "Sequence[ThresholdPoint]", most: int = SHOWN_POINTS) -> "Iterator[ThresholdPoint]":
    """At most so many points of a curve, from first to last, at about equal steps of what is answered."""
    if len(curve) <= most:
        yield from curve
        return
    for step in range(most):
        yield curve[round(step * (len(curve) - 1) / (most - 1))]


def _verdict(found: "Calibration") -> str:
    told = f"refusal_threshold {found.chosen.threshold:g}"
    if found.applied:
        return f"Set: {told} of the collection {found.collection}."
    return f"Nothing was changed; without --dry-run the collection {found.collection} gets {told}."
