"""`footnote eval`: measure retrieval and answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.arguments import ModeOption
from app.cli.evaluate_lm import evaluate_lm
from app.cli.output import AsJson, print_fields, print_json, print_table
from app.cli.progress import progress_bar

if TYPE_CHECKING:
    from retrieval.benchmark import RetrievalReport

commands = typer.Typer(no_args_is_help=True, help="Measure on data with known results.")
commands.command("lm")(evaluate_lm)


@commands.command("retrieval")
def evaluate_retrieval(
    data: Annotated[Path, typer.Option(help="Folder with corpus, queries and qrels in the form of BEIR.")],
    mode: ModeOption = "hybrid",
    split: Annotated[str | None, typer.Option(help="test, dev or train; default: test, else dev.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure search: nDCG, recall, MRR, MAP with intervals."""
    from app.settings import load_settings
    from embeddings.encoder import Encoder
    from retrieval.benchmark import measure_retrieval
    from retrieval.metrics import evaluate_rankings
    from retrieval.types import SearchMode

    # A missing package is found out before minutes of encoding, not after.
    evaluate_rankings({"query": {"document": 1}}, {"query": ["document"]})
    settings = load_settings()
    encoder = Encoder.load(settings.encoder, settings.threads)
    with progress_bar(as_json) as show:
        report = measure_retrieval(data, encoder, SearchMode(mode), split, show)
    if as_json:
        print_json(_retrieval_figures(report))
    else:
        _print_retrieval(report)


def _retrieval_figures(report: "RetrievalReport") -> dict[str, object]:
    about = {
        "split": report.split,
        "mode": report.mode,
        "model": report.model_id,
        "documents": report.documents,
        "queries": report.queries,
    }
    return {**report.metrics, **about}


def _print_retrieval(report: "RetrievalReport") -> None:
    counts = f"{report.documents} documents, {report.queries} queries of {report.split}"
    typer.echo(f"{report.mode} search with {report.model_id}: {counts}; 95 % intervals")
    rows = (
        (name, *(f"{figure:.4f}" for figure in (found.value, found.low, found.high)))
        for name, found in report.metrics.items()
    )
    print_table(("metric", "value", "low", "high"), rows)


@commands.command("answers")
def evaluate_answers(
    data: Annotated[Path, typer.Option(help="Questions with their answers, .jsonl or .jsonl.gz.")],
    retrieve: Annotated[
        bool, typer.Option("--retrieve", help="Search all passages of the file first.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first questions.")] = None,
    refuse: Annotated[bool, typer.Option(help="May the decoder say that the answer is not there?")] = True,
    style: Annotated[
        Literal["auto", "span", "sentences"],
        typer.Option(help="Of the bundled decoder's answers; auto goes by the question."),
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure answers: EM, F1, refusals, quotes, time."""
    from app.evaluation.answers import AnswerTask, measure_answers
    from app.resources import load_models
    from app.settings import load_settings

    settings = load_settings()
    task = AnswerTask(data, retrieve, limit, refuse, None if style == "auto" else style)
    with progress_bar(as_json) as show:
        figures = measure_answers(task, load_models(settings), settings, show)
    if as_json:
        print_json(figures)
    else:
        print_fields((name, _rounded(value)) for name, value in figures.items())


def _rounded(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
