"""`footnote eval`: measure retrieval and answers."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import AsJson, print_fields, print_json
from app.cli.progress import progress_bar

commands = typer.Typer(no_args_is_help=True, help="Measure on data with known results.")


@commands.command("answers")
def evaluate_answers(
    data: Annotated[Path, typer.Option(help="Questions with their answers, .jsonl or .jsonl.gz.")],
    retrieve: Annotated[
        bool, typer.Option("--retrieve", help="Search all passages of the file first.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first questions.")] = None,
    refuse: Annotated[bool, typer.Option(help="May the decoder say that the answer is not there?")] = True,
    as_json: AsJson = False,
) -> None:
    """Measure answers: EM, F1, refusals, quotes, time."""
    from app.evaluation.answers import AnswerTask, measure_answers
    from app.resources import load_models
    from app.settings import load_settings

    settings = load_settings()
    task = AnswerTask(data, retrieve, limit, refuse)
    with progress_bar() as show:
        figures = measure_answers(task, load_models(settings), settings, show)
    if as_json:
        print_json(figures)
    else:
        print_fields((name, _rounded(value)) for name, value in figures.items())


def _rounded(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
