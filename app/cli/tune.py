"""`footnote tune-fusion`: how a collection's searches join meaning and words, fitted to judged queries."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import AsJson, print_json, print_table
from app.cli.progress import progress_bar
from app.cli.session import run_with_encoder

if TYPE_CHECKING:
    from app.services.tuning import Tuning
    from retrieval.fusion_tuning import FittedFusion
    from retrieval.types import Fusion


def tune_fusion(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    judgements: Annotated[
        Path, typer.Option(help="Queries with their right documents, or a log of clicks, JSONL.")
    ],
    apply: Annotated[
        bool, typer.Option("--apply", help="Set the best fusion, if it is better on held-out queries.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the split of the queries in two halves.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Fit the fusion of a collection to judged queries."""
    from app.services.tuning import TuningService
    from retrieval.judgements import read_judgements

    judged = read_judgements(judgements)
    with progress_bar(as_json) as show:
        found = run_with_encoder(
            lambda r: TuningService(r.database, r.indexes, r.collections).tune(
                collection, judged, apply=apply, seed=seed, progress=show
            )
        )
    if as_json:
        print_json({"best": found.report.best, "better": found.report.is_better, **_fields(found)})
    else:
        _print_tuning(found)


def _fields(found: "Tuning") -> dict[str, object]:
    return {"report": found.report, "skipped": found.skipped, "applied": found.applied}


def _print_tuning(found: "Tuning") -> None:
    report = found.report
    typer.echo(
        f"nDCG@10 of documents; fitted on {report.train_queries} queries, "
        f"judged on {report.held_out_queries} others; 95 % intervals"
    )
    headers = ("fusion", "fitted on", "held out", "low", "high", "gain", "low", "high")
    rows = [_row("in service", report.present), *(_row("fitted", each) for each in report.fitted)]
    print_table(headers, rows)
    if found.skipped:
        typer.echo(f"{found.skipped} queries were left out: the collection has none of their documents.")
    typer.echo(_verdict(found))


def _row(what: str, fitted: "FittedFusion") -> list[str]:
    held_out, gain = fitted.held_out, fitted.gain
    figures = (fitted.train, held_out.value, held_out.low, held_out.high)
    signed = (gain.value, gain.low, gain.high)
    return [
        f"{what}: {describe_fusion(fitted.fusion)}",
        *(f"{figure:.4f}" for figure in figures),
        *(f"{figure:+.4f}" for figure in signed),
    ]


def _verdict(found: "Tuning") -> str:
    best = found.report.best
    told = describe_fusion(best.fusion)
    if found.applied:
        return f"Set: {told}."
    if not found.report.is_better:
        return f"Nothing was changed: the best, {told}, is not reliably better than the fusion in service."
    return f"The best is {told}; --apply sets it."


def describe_fusion(fusion: "Fusion") -> str:
    """A fusion with the parameters that its method reads."""
    return " ".join([fusion.method, *_parameters(fusion)])


def _parameters(fusion: "Fusion") -> Iterator[str]:
    match fusion.method:
        case "evidence":
            yield f"dense_trust={fusion.dense_trust:g}"
            yield f"lexical_trust={fusion.lexical_trust:g}"
        case "rrf":
            yield f"k={fusion.k}"
        case "convex":
            yield f"alpha={fusion.alpha:g}"
            yield str(fusion.normalisation)
