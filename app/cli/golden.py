"""`footnote golden`: questions whose right documents are known, which a new release has to find as well."""

from typing import Annotated

import typer

from app.cli.output import AsJson, print_json, print_table
from app.cli.releases import CollectionName
from app.cli.session import run_without_models

commands = typer.Typer(
    no_args_is_help=True, help="Questions whose right documents are known; a reindex is measured on them."
)


@commands.command("add")
def add_golden(
    collection: CollectionName,
    query: Annotated[str, typer.Argument(help="The question.")],
    document_ids: Annotated[list[str], typer.Argument(help="Ids of the documents that have to be found.")],
    as_json: AsJson = False,
) -> None:
    """Keep a question with its documents; one with the same words is replaced."""
    made = run_without_models(lambda r: r.releases.add_golden(collection, query, document_ids))
    if as_json:
        print_json(made)
    else:
        typer.echo(f"Kept as golden query {made.id}.")


@commands.command("list")
def list_golden(collection: CollectionName, as_json: AsJson = False) -> None:
    """List the golden queries of a collection."""
    found = run_without_models(lambda r: r.releases.golden(collection))
    if as_json:
        print_json({"golden_queries": found})
    else:
        print_table(
            ("id", "query", "documents"),
            ((each.id, each.query, ", ".join(each.document_ids)) for each in found),
        )


@commands.command("remove")
def remove_golden(
    collection: CollectionName,
    golden_id: Annotated[int, typer.Argument(help="Id of the golden query.")],
    as_json: AsJson = False,
) -> None:
    """Remove a golden query."""
    run_without_models(lambda r: r.releases.remove_golden(collection, golden_id))
    if as_json:
        print_json({"removed": golden_id})
    else:
        typer.echo(f"Removed the golden query {golden_id}.")
