"""`footnote documents`: list, show, read, delete."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.arguments import CollectionOption, FilterOption, parse_filter_option
from app.cli.output import AsJson, one_line, print_fields, print_json, print_table, printable
from app.cli.session import run_without_models
from embeddings.errors import InvalidInput

if TYPE_CHECKING:
    from app.resources import Resources

commands = typer.Typer(no_args_is_help=True, help="The documents of a collection.")

DocumentId = Annotated[str, typer.Argument(metavar="ID", help="Id of the document.")]


@commands.command("list")
def list_documents(
    collection: CollectionOption,
    limit: Annotated[int, typer.Option(help="At most this many.")] = 100,
    after: Annotated[str | None, typer.Option(help="Go on after this id.")] = None,
    as_json: AsJson = False,
) -> None:
    """List documents in the order of their ids."""
    page = run_without_models(lambda r: r.documents.list(collection, limit=limit, after=after))
    if as_json:
        print_json(page)
        return
    rows = (
        (each.id, each.version, each.chunks, each.length, one_line(each.title or "", 60))
        for each in page.documents
    )
    print_table(("id", "version", "chunks", "length", "title"), rows)
    if page.next is not None:
        typer.echo(f"More: --after {page.next}", err=True)


@commands.command("get")
def show_document(document_id: DocumentId, collection: CollectionOption, as_json: AsJson = False) -> None:
    """Show one document without its text."""
    document = run_without_models(lambda r: r.documents.get(collection, document_id))
    if as_json:
        print_json(document)
        return
    print_fields((name, getattr(document, name)) for name in document.__slots__)


@commands.command("text")
def show_text(
    document_id: DocumentId,
    collection: CollectionOption,
    version: Annotated[int | None, typer.Option(help="Default: the newest.")] = None,
    start: Annotated[int, typer.Option(help="First character, counted from 0.")] = 0,
    end: Annotated[
        int | None, typer.Option(help="The character after the last; default: to the end.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the stored text of a version, or a span of it."""
    found = run_without_models(
        lambda r: r.documents.text(collection, document_id, version=version, start=start, end=end)
    )
    if as_json:
        print_json(found)
    else:
        typer.echo(printable(found.text))


@commands.command("delete")
def delete_documents(
    collection: CollectionOption,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of the documents.")] = None,
    where: FilterOption = None,
    as_json: AsJson = False,
) -> None:
    """Delete documents by id, or by a metadata filter."""
    if bool(ids) == (where is not None):
        raise InvalidInput(
            "documents delete needs either ids or --filter",
            found="both" if ids else "neither",
            expected="ids, or --filter with a JSON object",
        )
    chosen = None if ids else parse_filter_option(where)

    async def delete(resources: "Resources") -> int:
        count = await resources.documents.delete_where(collection, ids=ids or None, filter=chosen)
        await resources.reclaimer.finish()
        return count

    deleted = run_without_models(delete)
    if as_json:
        print_json({"deleted": deleted})
    else:
        typer.echo(f"Deleted {deleted} document{'' if deleted == 1 else 's'}.")
