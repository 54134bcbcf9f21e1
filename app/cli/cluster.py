"""`footnote cluster`: what the documents of a collection are about, in groups."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import AsJson, one_line, print_json, print_table
from app.cli.progress import progress_bar
from app.cli.session import run_with_encoder

if TYPE_CHECKING:
    from app.services.grouping import Clusters, GroupedDocument

_TYPICAL_CHARACTERS = 40


def cluster(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    clusters: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many; by default as many as stand apart best, up to 60.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of where the search for clusters starts.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Group the documents of a collection by what they are about."""
    from app.services.grouping import GroupingService

    with progress_bar(as_json) as show:
        found = run_with_encoder(
            lambda r: GroupingService(r.database, r.indexes).cluster(collection, clusters, seed, show)
        )
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: "Clusters") -> None:
    from app.services.grouping import TYPICAL

    rows = [
        (
            number,
            len(each.documents),
            ", ".join(each.words),
            "; ".join(_shown(document) for document in each.documents[:TYPICAL]),
        )
        for number, each in enumerate(found.clusters, start=1)
    ]
    print_table(("cluster", "documents", "words", "most typical"), rows)
    typer.echo(f"{len(found.clusters)} clusters; silhouette {found.silhouette:.3f}; --json lists all members")


def _shown(document: "GroupedDocument") -> str:
    return one_line(document.title or document.id, _TYPICAL_CHARACTERS)
