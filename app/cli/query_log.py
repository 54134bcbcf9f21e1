"""`footnote query-log`: what was asked, where the setting FOOTNOTE_QUERY_LOG keeps it."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import AsJson, print_json
from app.cli.session import run_with_database
from embeddings.errors import InvalidInput

if TYPE_CHECKING:
    from app.db.engine import Database
    from app.evaluation.query_log import WrittenTask
    from app.services.query_log import QueryLog

commands = typer.Typer(no_args_is_help=True, help="What was asked: export it, redact it, remove it.")

Collection = Annotated[
    str | None, typer.Argument(help="Name of the collection; without it, all of them.", show_default=False)
]


@commands.command("export")
def export_queries(
    collection: Collection = None,
    out: Annotated[Path | None, typer.Option(help="File to write; without it, standard output.")] = None,
    evaluation: Annotated[
        Path | None,
        typer.Option(help="A new folder for `footnote eval retrieval`: documents, questions, judgements."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the log as JSON lines, or an evaluation from it and from the feedback."""
    if evaluation is not None:
        written = run_with_database(lambda database: _write_task(database, collection, evaluation))
        _print_task(written, evaluation, as_json)
    elif out is None:
        run_with_database(lambda database: _print_lines(database, collection))
    else:
        count = run_with_database(lambda database: _write_lines(database, collection, out))
        _print_count("questions", count, f"Wrote {count} questions to {out}.", as_json)


@commands.command("redact")
def redact_queries(
    collection: Collection = None,
    containing: Annotated[
        str | None, typer.Option(help="Only questions and filters with this text, whatever its case.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take the words out of logged questions and filters; hits, times and hashes stay."""
    count = run_with_database(lambda database: _log(database).redact(collection, containing))
    _print_count("redacted", count, f"Took the words out of {count} questions.", as_json)


@commands.command("clear")
def clear_queries(
    collection: Collection = None,
    days: Annotated[
        int | None, typer.Option(min=0, help="Only questions that are older than so many days.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove logged questions."""
    before = None if days is None else datetime.now().astimezone() - timedelta(days=days)
    count = run_with_database(lambda database: _log(database).clear(collection, before))
    _print_count("removed", count, f"Removed {count} questions.", as_json)


def _log(database: "Database") -> "QueryLog":
    from app.services.query_log import QueryLog
    from app.settings import load_settings

    return QueryLog(database, load_settings())


async def _print_lines(database: "Database", collection: str | None) -> None:
    from app.evaluation.query_log import export_lines

    async for line in export_lines(database, collection):
        typer.echo(line)


async def _write_lines(database: "Database", collection: str | None, out: Path) -> int:
    from app.evaluation.query_log import export_lines

    count = 0
    with out.open("w", encoding="utf-8") as file:
        async for line in export_lines(database, collection):
            file.write(line + "\n")
            count += 1
    return count


async def _write_task(database: "Database", collection: str | None, folder: Path) -> "WrittenTask":
    from app.evaluation.query_log import write_task

    if collection is None:
        raise InvalidInput(
            "an evaluation is of one collection",
            field="COLLECTION",
            found="none",
            expected="the name of a collection",
            next_step=f"footnote query-log export NAME --evaluation {folder}",
        )
    return await write_task(database, collection, folder)


def _print_task(written: "WrittenTask", folder: Path, as_json: bool) -> None:
    if as_json:
        print_json(written)
        return
    judged = f"{written.queries} questions with {written.judgements} judgements"
    typer.echo(f"Wrote {judged} and {written.documents} documents to {folder}.")
    if written.unjudged:
        typer.echo(f"{written.unjudged} other questions have no feedback and were left out.")
    typer.echo(f"Measure with: footnote eval retrieval --data {folder}")


def _print_count(name: str, count: int, words: str, as_json: bool) -> None:
    if as_json:
        print_json({name: count})
    else:
        typer.echo(words)
