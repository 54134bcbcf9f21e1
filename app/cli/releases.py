"""`footnote releases`: what a collection serves, served and may serve."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import AsJson, print_fields, print_json, print_table
from app.cli.session import run_with_encoder, run_without_models

if TYPE_CHECKING:
    from app.services.release_types import Release

commands = typer.Typer(
    no_args_is_help=True, help="What a collection serves: its chunking and its encoder, and those before."
)

CollectionName = Annotated[str, typer.Argument(help="Name of the collection.")]
Number = Annotated[int, typer.Argument(help="Number of the release.")]


@commands.command("list")
def list_releases(collection: CollectionName, as_json: AsJson = False) -> None:
    """List the releases of a collection, the latest first."""
    from app.services.release_types import engine_name, with_engine_named

    found = run_without_models(lambda r: r.releases.list(collection))
    if as_json:
        print_json({"releases": [with_engine_named(each) for each in found]})
        return
    headers = ("number", "state", "chunk_max_tokens", "chunk_overlap_tokens", "encoder", "engine")
    print_table(
        headers,
        (
            (
                each.number,
                each.state.value,
                each.chunk_max_tokens,
                each.chunk_overlap_tokens,
                _encoder(each),
                engine_name(each),
            )
            for each in found
        ),
    )


@commands.command("show")
def show_release(collection: CollectionName, number: Number, as_json: AsJson = False) -> None:
    """Show one release with the report of its verification."""
    print_release(run_without_models(lambda r: r.releases.get(collection, number)), as_json)


@commands.command("promote")
def promote_release(collection: CollectionName, number: Number, as_json: AsJson = False) -> None:
    """Put a release that is ready in service. It takes in first what was written since it was made."""
    from app.cli.progress import progress_bar

    with progress_bar(hidden=as_json) as show:
        release = run_with_encoder(lambda r: r.releases.promote(collection, number, show))
    print_release(release, as_json)


@commands.command("rollback")
def roll_back(collection: CollectionName, as_json: AsJson = False) -> None:
    """Put the previous release in service again, with all that was written since."""
    from app.cli.progress import progress_bar

    with progress_bar(hidden=as_json) as show:
        release = run_with_encoder(lambda r: r.releases.rollback(collection, show))
    print_release(release, as_json)


@commands.command("prune")
def prune_releases(collection: CollectionName, as_json: AsJson = False) -> None:
    """Reclaim the chunks, vectors and indexes on engines that only retired and failed releases needed."""
    pruned = run_with_encoder(lambda r: r.releases.prune(collection))
    if as_json:
        print_json(pruned)
    else:
        vectors = f"{pruned.vectors} vectors of chunks that stay"
        typer.echo(f"Removed {pruned.chunks} chunks, {vectors}, and {pruned.indexes} indexes on engines.")


def print_release(release: "Release", as_json: bool) -> None:
    """Print a release with what its verification measured."""
    from app.services.release_types import engine_name, with_engine_named

    if as_json:
        print_json(with_engine_named(release))
        return
    report = dict(release.report or {})
    reasons = report.pop("reasons", ())
    print_fields(
        [
            ("number", release.number),
            ("state", release.state.value),
            ("chunk_max_tokens", release.chunk_max_tokens),
            ("chunk_overlap_tokens", release.chunk_overlap_tokens),
            ("encoder", _encoder(release)),
            ("model", release.model_id),
            ("engine", engine_name(release)),
            ("created_at", release.created_at.isoformat(timespec="seconds")),
            ("promoted_at", release.promoted_at and release.promoted_at.isoformat(timespec="seconds")),
            *report.items(),
            *(("failed because", reason) for reason in reasons),
        ]
    )


def _encoder(release: "Release") -> str:
    return release.encoder or "the one of the settings"
