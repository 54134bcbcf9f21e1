"""`footnote ingest`: files and folders into a collection."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.arguments import CollectionOption, parse_metadata
from app.cli.failures import EXIT_FAILURE, EXIT_INTERRUPTED
from app.cli.file_walk import FoundFiles, find_files
from app.cli.output import AsJson, print_json, printable
from app.cli.session import run_with_resources
from embeddings.errors import NotFound

if TYPE_CHECKING:
    from app.cli.file_batches import FileBatch
    from app.resources import Resources
    from app.services.types import ItemResult

STATUSES = ("created", "updated", "unchanged", "error")


@dataclass(frozen=True, slots=True)
class IngestFailure:
    """One document that was not taken. path: None when it is one record of a file of many."""

    id: str | None
    path: str | None
    code: str
    error: str
    next: str | None


@dataclass(slots=True)
class IngestReport:
    """What is committed so far; it is also what is told after Ctrl-C.

    files: done, of `total`. skipped: files of folders in formats that are not read. documents: counts by
    status.
    """

    total: int
    skipped: int
    files: int = 0
    documents: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(STATUSES, 0)))
    failures: list[IngestFailure] = field(default_factory=list)
    interrupted: bool = False

    def add(self, batch: "FileBatch", items: "list[ItemResult]") -> None:
        """Count one batch."""
        self.files += len(batch.files)
        paths = {file.document_id: str(file.path) for file in batch.files}
        for item in [*items, *batch.refused]:
            self.documents[item.status.value] += 1
            if (error := item.error) is not None:
                path = paths.get(item.id or "")
                self.failures.append(IngestFailure(item.id, path, error.code, error.message, error.next_step))


def ingest(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files, and folders with all they hold.")
    ],
    collection: CollectionOption,
    metadata: Annotated[
        list[str] | None, typer.Option(help="key=value for every document; repeat for several.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add files and folders to a collection, which is created when it is missing."""
    from retrieval.extraction import is_readable

    shared = parse_metadata(metadata or [])
    found = find_files(paths, is_readable)
    report = IngestReport(total=len(found.files), skipped=len(found.skipped))
    try:
        _ingest_files(collection, found, shared, report, hidden=as_json)
    except KeyboardInterrupt:
        report.interrupted = True
    if as_json:
        print_json(report)
    else:
        _print_report(report, collection)
    if report.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if report.failures:
        raise typer.Exit(EXIT_FAILURE)


def _ingest_files(
    collection: str, found: FoundFiles, metadata: Mapping[str, Any], report: IngestReport, *, hidden: bool
) -> None:
    from app.cli.file_batches import read_batches

    async def work(resources: "Resources") -> None:
        await _ensure_collection(resources, collection)
        for batch in read_batches(found.files, metadata, resources.settings.max_file_bytes):
            report.add(batch, list(await resources.documents.add_files(collection, batch.inputs)))
            advance(len(batch.files))

    with _progress(report.total, hidden) as advance:
        run_with_resources(work)


async def _ensure_collection(resources: "Resources", name: str) -> None:
    from app.services.types import CollectionSettings

    try:
        await resources.collections.get(name)
    except NotFound:
        await resources.collections.create(name, CollectionSettings())


@contextmanager
def _progress(total: int, hidden: bool) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal's stderr; yields what moves it on by a number of files."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("files"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bar:
        task = bar.add_task("files", total=total)
        yield lambda files: bar.advance(task, files)


def _print_report(report: IngestReport, collection: str) -> None:
    for failure in report.failures:
        typer.echo(
            f"failed: {printable(failure.path or failure.id or '?')}: {printable(failure.error)}", err=True
        )
        if failure.next:
            typer.echo(f"  next: {failure.next}", err=True)
    counts = report.documents
    typer.echo(
        f"{collection}: {counts['created']} created, {counts['updated']} updated, "
        f"{counts['unchanged']} unchanged, {counts['error']} failed"
    )
    if report.skipped:
        typer.echo(f"{report.skipped} files skipped: Footnote does not read their formats")
    if report.interrupted:
        typer.echo(
            f"Stopped after {report.files} of {report.total} files; what is done is kept. "
            "The same command again goes on where this one stopped.",
            err=True,
        )
