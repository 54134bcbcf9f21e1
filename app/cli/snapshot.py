"""`footnote snapshot`: back up the data folder to a file, verify the file, restore it elsewhere."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.failures import EXIT_FAILURE
from app.cli.output import AsJson, print_fields, print_json
from app.cli.progress import progress_bar

if TYPE_CHECKING:
    from app.snapshots.manifest import SnapshotManifest

commands = typer.Typer(no_args_is_help=True, help="Backups of the whole data folder, each in one file.")

File = Annotated[Path, typer.Argument(help="The snapshot file.")]


@commands.command("create")
def create(file: File, as_json: AsJson = False) -> None:
    """Write a snapshot, also while the service runs; the file must not exist yet."""
    from app.settings import load_settings
    from app.snapshots.writing import create_snapshot

    with progress_bar(as_json) as progress:
        manifest = create_snapshot(load_settings(), file, progress)
    _print("created", file, manifest, as_json)
    _print_notes(manifest.left_out)


@commands.command("verify")
def verify(file: File, as_json: AsJson = False) -> None:
    """Compare every checksum and examine the databases in a snapshot; restores nothing."""
    from app.snapshots.checking import verify_snapshot

    with progress_bar(as_json) as progress:
        found = verify_snapshot(file, progress)
    _print("damaged" if found.problems else "verified", file, found.manifest, as_json, found.problems)
    for problem in found.problems:
        typer.echo(f"problem: {problem}", err=True)
    if found.problems:
        raise typer.Exit(EXIT_FAILURE)


@commands.command("restore")
def restore(
    file: File,
    home: Annotated[Path, typer.Option("--home", help="The data folder to make; absent or empty.")],
    as_json: AsJson = False,
) -> None:
    """Make a data folder of a snapshot. Start Footnote with FOOTNOTE_HOME set to it."""
    from app.snapshots.restoring import restore_snapshot

    with progress_bar(as_json) as progress:
        restored = restore_snapshot(file, home, progress)
    _print("restored", restored.home, restored.manifest, as_json, notes=restored.notes)
    _print_notes(restored.notes)


def _print(
    state: str,
    place: Path,
    manifest: "SnapshotManifest",
    as_json: bool,
    problems: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> None:
    if as_json:
        found = {"state": state, "path": str(place), "problems": problems, "notes": notes}
        print_json(found | {"snapshot": manifest})
        return
    print_fields(
        [
            (state, place),
            ("made", f"{manifest.created_at} by Footnote {manifest.footnote}"),
            ("collections", len(manifest.collections)),
            ("documents", manifest.documents),
            ("chunks", manifest.chunks),
            ("keys", manifest.keys),
            ("jobs", manifest.jobs),
            ("builds", len(manifest.builds)),
            ("models", ", ".join(_model(each.model_id, each.folder) for each in manifest.models) or None),
            ("files", f"{len(manifest.files)} of {manifest.size_bytes / 1e6:,.1f} MB"),
        ]
    )


def _model(model_id: str, folder: str | None) -> str:
    return f"{model_id} (part of the program)" if folder is None else model_id


def _print_notes(notes: tuple[str, ...]) -> None:
    for note in notes:
        typer.echo(f"note: {note}", err=True)
