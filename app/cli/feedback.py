"""`footnote feedback`: what people thought of what was found, which trainings learn from."""

from typing import Annotated

import typer

from app.cli.output import AsJson, one_line, print_json, print_table
from app.cli.releases import CollectionName
from app.cli.session import run_without_models

commands = typer.Typer(
    no_args_is_help=True, help="What people thought of what was found; trainings learn from it."
)


@commands.command("list")
def list_feedback(
    collection: CollectionName,
    limit: Annotated[int, typer.Option(help="How many, 1 to 1000.")] = 100,
    after: Annotated[int | None, typer.Option(help="Only those behind this id.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the feedback of a collection, the oldest first."""
    page = run_without_models(lambda r: r.feedback.list(collection, limit, after))
    if as_json:
        print_json(page)
        return
    rows = ((each.id, each.kind, one_line(each.query, 60), each.document_id) for each in page.feedback)
    print_table(("id", "kind", "query", "document"), rows)
    if page.next is not None:
        typer.echo(f"For more: --after {page.next}")


@commands.command("remove")
def remove_feedback(
    collection: CollectionName,
    feedback_id: Annotated[int, typer.Argument(metavar="ID", help="Id of the verdict.")],
    as_json: AsJson = False,
) -> None:
    """Remove one verdict."""
    run_without_models(lambda r: r.feedback.remove(collection, feedback_id))
    if as_json:
        print_json({"removed": feedback_id})
    else:
        typer.echo(f"Removed the feedback {feedback_id}.")
