"""`footnote duplicates`: documents of a collection that say the same."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import AsJson, print_json, print_table
from app.cli.progress import progress_bar
from app.cli.session import run_with_encoder

if TYPE_CHECKING:
    from app.services.grouping import Duplicates, Repetition


def duplicates(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    min_score: Annotated[
        float, typer.Option(min=-1, max=1, help="Cosine from which two chunks say the same.")
    ] = 0.95,
    min_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of its chunks that a duplicate has in common.")
    ] = 0.8,
    as_json: AsJson = False,
) -> None:
    """List documents that repeat one another, and those that stand in another."""
    from app.services.grouping import GroupingService

    with progress_bar(as_json) as show:
        found = run_with_encoder(
            lambda r: GroupingService(r.database, r.indexes).duplicates(
                collection, min_score, min_share, show
            )
        )
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: "Duplicates") -> None:
    headers = ("document", "and", "share of its chunks", "of the other's", "cosine")
    if found.pairs:
        print_table(headers, [_row(each) for each in found.pairs])
        spare = sum(len(group) - 1 for group in found.groups)
        typer.echo(f"{len(found.groups)} groups of documents that repeat one another; {spare} could go")
    else:
        typer.echo("No document repeats another.")
    if found.contained:
        typer.echo("\nDocuments that stand in another:")
        print_table(headers, [_row(each) for each in found.contained])


def _row(pair: "Repetition") -> tuple[str, ...]:
    kind = "same text" if pair.same_text else f"{pair.score:.3f}"
    return pair.first, pair.second, f"{pair.first_share:.0%}", f"{pair.second_share:.0%}", kind
