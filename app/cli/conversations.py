"""`footnote conversations`: what collections keep of questions and answers."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from app.cli.output import AsJson, one_line, open_console, print_json, print_table, print_text, printable
from app.cli.releases import CollectionName
from app.cli.session import run_with_database
from embeddings.errors import InvalidInput

if TYPE_CHECKING:
    from app.services.conversation_types import Turn
    from app.services.kept_conversations import KeptConversations

T = TypeVar("T")

commands = typer.Typer(
    no_args_is_help=True, help="Questions and answers that a collection with keep_conversations keeps."
)

_SHOWN_CHARACTERS = 60
ConversationId = Annotated[int, typer.Argument(metavar="ID", help="From `footnote conversations list`.")]


@commands.command("list")
def list_conversations(
    collection: CollectionName,
    limit: Annotated[int, typer.Option(help="How many, 1 to 1000.")] = 100,
    after: Annotated[int | None, typer.Option(help="Only those that are older than this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the conversations of a collection, the newest first."""
    from app.services.conversation_types import OPERATOR

    page = _with_kept(lambda kept: kept.list(collection, OPERATOR, limit, after))
    if as_json:
        print_json(page)
        return
    rows = (
        (each.id, each.turns, each.updated_at.isoformat(timespec="seconds"), _short(each.title))
        for each in page.conversations
    )
    print_table(("id", "turns", "latest", "first question"), rows)
    if page.next is not None:
        typer.echo(f"More: --after {page.next}", err=True)


@commands.command("show")
def show_conversation(
    collection: CollectionName, conversation_id: ConversationId, as_json: AsJson = False
) -> None:
    """Show a conversation with its turns."""
    from app.services.conversation_types import OPERATOR

    found = _with_kept(lambda kept: kept.get(collection, OPERATOR, conversation_id))
    if as_json:
        from app.http.conversation_schemas import ConversationReply

        print_json(ConversationReply.of(found))
        return
    for turn in found.turns:
        _print_turn(turn)


@commands.command("delete")
def delete_conversations(
    collection: CollectionName,
    conversation_id: Annotated[
        int | None, typer.Argument(metavar="[ID]", help="From `footnote conversations list`.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every conversation of the collection.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete one conversation, or all."""
    from app.services.conversation_types import OPERATOR

    if (conversation_id is None) is not everything:
        raise InvalidInput(
            "conversations delete needs either an id or --all",
            field="ID",
            found="both" if everything else "neither",
            expected="an id, or --all",
        )
    deleted = _with_kept(lambda kept: kept.remove(collection, OPERATOR, conversation_id))
    if as_json:
        print_json({"deleted": deleted})
    else:
        typer.echo(f"Deleted {deleted} conversation{'' if deleted == 1 else 's'}.")


def _with_kept(work: "Callable[[KeptConversations], Awaitable[T]]") -> T:
    from app.services.kept_conversations import KeptConversations

    return run_with_database(lambda database: work(KeptConversations(database)))


def _short(text: str) -> str:
    return one_line(text, _SHOWN_CHARACTERS)


def _print_turn(turn: "Turn") -> None:
    console = open_console()
    print_text(console, (f"{turn.number}. {printable(turn.question)}", "bold"))
    if turn.question_used != turn.question:
        print_text(console, (f"   Asked: {printable(turn.question_used)}", "dim"))
    print_text(console, f"   {printable(turn.answer or turn.status.value)}")
    for citation in turn.citations:
        quote = "the document was deleted" if citation.quote is None else f"“{one_line(citation.quote, 300)}”"
        place = f"{citation.document_id} v{citation.version} [{citation.start}:{citation.end}]"
        print_text(console, (f"   [{citation.number}]", "bold cyan"), f" {printable(place)}  {quote}")
