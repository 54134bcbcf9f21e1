"""`footnote ingest`: files and folders into a collection."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.arguments import CollectionOption, parse_metadata
from app.cli.failures import EXIT_FAILURE, EXIT_INTERRUPTED
from app.cli.file_walk import FoundFile, find_files
from app.cli.output import AsJson, print_json, printable
from app.cli.progress import progress_bar
from app.cli.session import run_with_encoder
from embeddings.errors import FootnoteError, NotFound, UnsupportedFormat

if TYPE_CHECKING:
    from app.cli.file_batches import FileBatch
    from app.resources import Resources
    from app.services.types import ItemResult

STATUSES = ("created", "updated", "unchanged", "error")


@dataclass(frozen=True, slots=True)
class Untaken:
    """One document that was not taken, and why. path: None when it is one record of a file of many."""

    id: str | None
    path: str | None
    code: str
    error: str
    next: str | None


@dataclass(slots=True)
class IngestReport:
    """What is committed so far; it is also what is told after Ctrl-C.

    files: done, of `total`. documents: counts by status. skipped: files of folders that hold no text, such as
    images; they are no failures.
    """

    total: int
    files: int = 0
    documents: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(STATUSES, 0)))
    failures: list[Untaken] = field(default_factory=list)
    skipped: list[Untaken] = field(default_factory=list)
    interrupted: bool = False

    def add(self, batch: "FileBatch", items: "Iterable[ItemResult]") -> None:
        """Count one batch."""
        self.files += len(batch.files)
        files = {file.document_id: file for file in batch.files}
        for item in [*items, *batch.refused]:
            file = files.get(item.id or "")
            if item.error is None:
                self.documents[item.status.value] += 1
            elif isinstance(item.error, UnsupportedFormat) and file is not None and not file.named:
                self.skipped.append(_untaken(item, item.error, file))
            else:
                self.documents[item.status.value] += 1
                self.failures.append(_untaken(item, item.error, file))


def _untaken(item: "ItemResult", error: FootnoteError, file: "FoundFile | None") -> Untaken:
    path = None if file is None else printable(str(file.path))
    document_id = None if item.id is None else printable(item.id)
    return Untaken(document_id, path, error.code, printable(error.message), error.next_step)


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
    shared = parse_metadata(metadata or [])
    files = find_files(paths)
    report = IngestReport(total=len(files))
    try:
        _ingest_files(collection, files, shared, report, hidden=as_json)
    except KeyboardInterrupt:
        report.interrupted = True
    except FootnoteError:  # a full disk: what is committed is worth telling before the reason
        if report.files:
            _print_report(report, collection, as_json)
        raise
    _print_report(report, collection, as_json)
    if report.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if report.failures:
        raise typer.Exit(EXIT_FAILURE)


def _ingest_files(
    collection: str,
    files: Iterable[FoundFile],
    metadata: Mapping[str, Any],
    report: IngestReport,
    *,
    hidden: bool,
) -> None:
    from app.cli.file_batches import read_batches

    async def work(resources: "Resources") -> None:
        await _ensure_collection(resources, collection)
        for batch in read_batches(files, metadata, resources.settings.max_file_bytes):
            report.add(batch, await _add(resources, collection, batch))
            show("files", report.files, report.total)

    with progress_bar(hidden) as show:
        run_with_encoder(work)


async def _add(resources: "Resources", collection: str, batch: "FileBatch") -> "tuple[ItemResult, ...]":
    if not batch.inputs:
        return ()
    return await resources.documents.add_files(collection, batch.inputs)


async def _ensure_collection(resources: "Resources", name: str) -> None:
    from app.services.types import CollectionSettings

    try:
        await resources.collections.get(name)
    except NotFound:
        await resources.collections.create(name, CollectionSettings())


def _print_report(report: IngestReport, collection: str, as_json: bool) -> None:
    if as_json:
        print_json(report)
        return
    for word, entries in (("skipped", report.skipped), ("failed", report.failures)):
        for entry in entries:
            place = entry.path or entry.id or "?"
            typer.echo(f"{word}: {place}: {entry.error}", err=True)
            if entry.next:
                typer.echo(f"  next: {entry.next}", err=True)
    counts = report.documents
    typer.echo(
        f"{collection}: {counts['created']} created, {counts['updated']} updated, "
        f"{counts['unchanged']} unchanged, {counts['error']} failed, {len(report.skipped)} skipped"
    )
    if report.interrupted:
        typer.echo(
            f"Stopped after {report.files} of {report.total} files; what is done is kept. "
            "The same command again goes on where this one stopped.",
            err=True,
        )
