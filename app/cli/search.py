"""`footnote search`: passages for a query."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.arguments import (
    CollectionOption,
    FilterOption,
    FusionOption,
    ModeOption,
    parse_filter_option,
    parse_fusion_option,
)
from app.cli.output import AsJson, one_line, print_json, printable
from app.cli.session import run_with_encoder

if TYPE_CHECKING:
    from app.services.types import Hit, SearchOutput
    from retrieval.types import SideScore

SHOWN_CHARACTERS = 300  # of a hit's text: enough to judge it, ten of them fit on a screen


def search(  # noqa: PLR0913, PLR0917  # each parameter is an option
    query: Annotated[str, typer.Argument(help="Words, or a question.")],
    collection: CollectionOption,
    mode: ModeOption = "hybrid",
    limit: Annotated[int, typer.Option(help="At most this many hits.")] = 10,
    offset: Annotated[int, typer.Option(help="Leave out this many of the best hits.")] = 0,
    where: FilterOption = None,
    fusion: FusionOption = None,
    diversity: Annotated[
        float, typer.Option(help="From 0, by score alone, to 1: let hits that repeat others go down.")
    ] = 0.0,
    min_score: Annotated[float | None, typer.Option(help="Leave out hits of a lower score.")] = None,
    merge_neighbours: Annotated[
        bool, typer.Option("--merge-neighbours", help="Make one hit of chunks that follow one another.")
    ] = False,
    rerank: Annotated[bool, typer.Option("--rerank", help="Order the best 50 with the reranker.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show every score and rank.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find the passages that matter for a query, best first."""
    from app.services.types import SearchInput
    from retrieval.types import SearchMode

    wanted = SearchInput(
        query,
        SearchMode(mode),
        limit,
        offset,
        parse_filter_option(where),
        parse_fusion_option(fusion),
        diversity,
        min_score,
        merge_neighbours,
        rerank,
    )
    found = run_with_encoder(lambda r: r.search.search(collection, wanted))
    if as_json:
        from app.http.search_schemas import SearchReply

        print_json(SearchReply.of(found, explain))
    else:
        print_hits(found, explain)


def print_hits(found: "SearchOutput", explain: bool) -> None:
    """Print numbered hits, and with `explain` how they came to their places."""
    print_truncation(found)
    if not found.hits:
        typer.echo("No hits.")
    for number, hit in enumerate(found.hits, start=1):
        typer.echo(f"{number}. {describe_place(hit)}  {hit.score:.4f}")
        typer.echo(f"   {one_line(hit.text, SHOWN_CHARACTERS)}")
        if explain:
            typer.echo(f"   {_describe_scores(hit)}")
    if explain and found.weights is not None:
        weights = found.weights
        typer.echo(f"Fused by {weights.method}: dense {weights.dense:.2f}, lexical {weights.lexical:.2f}")
        for reason in weights.reasons:
            typer.echo(f"  {reason}")


def print_truncation(found: "SearchOutput") -> None:
    """Tell on stderr that the encoder saw only a part of the query."""
    if found.query_truncated:
        typer.echo("The query is too long for the encoder: dense search saw only its beginning.", err=True)


def describe_place(hit: "Hit") -> str:
    """Where a hit stands: id, version, offsets, page, headings."""
    place = f"{hit.document_id} v{hit.version} [{hit.start}:{hit.end}]"
    if hit.page is not None:
        place += f" page {hit.page}"
    if hit.heading_path:
        place += " · " + " > ".join(hit.heading_path)
    return printable(place)


def _describe_scores(hit: "Hit") -> str:
    sides = [("dense", hit.scores.dense), ("lexical", hit.scores.lexical)]
    scores = [*(_describe_side(name, side) for name, side in sides), f"fused {hit.scores.fused:.4f}"]
    reranked = [] if hit.scores.rerank is None else [f"rerank {hit.scores.rerank:.4f}"]
    return "  ".join(scores + reranked)


def _describe_side(name: str, side: "SideScore | None") -> str:
    return f"{name} -" if side is None else f"{name} {side.score:.4f} (rank {side.rank})"
