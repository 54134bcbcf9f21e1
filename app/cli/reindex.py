"""`footnote reindex`: the same documents under another encoder or other sizes of chunks."""

from typing import Annotated

import typer

from app.cli.output import AsJson
from app.cli.ray import RayAddress, use_ray
from app.cli.releases import print_release
from app.cli.session import run_with_encoder


def reindex(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    encoder: Annotated[
        str | None,
        typer.Option(help="A model's folder, or its name under models/ in the data folder; default: as now."),
    ] = None,
    chunk_max_tokens: Annotated[
        int | None, typer.Option(help="Longest chunk, in tokens; default: as now.")
    ] = None,
    chunk_overlap_tokens: Annotated[
        int | None, typer.Option(help="Shared by neighbouring chunks, in tokens; default: as now.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="faiss, or an engine of FOOTNOTE_INDEX_URL, to keep the index; default: as now."),
    ] = None,
    promote: Annotated[
        bool, typer.Option(help="Put the release in service when it passes its verification.")
    ] = True,
    ray: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Make a release with another encoder, other chunks or another index engine, verify it, and put it in
    service.

    Searches and writes go on meanwhile. After a kill the same command goes on where it stopped. The exit
    status is 1 when the release fails its verification; the one in service stays then.
    """
    from app.cli.progress import progress_bar
    from app.services.release_types import ReindexInput, ReleaseState

    wanted = ReindexInput(encoder, chunk_max_tokens, chunk_overlap_tokens, engine)
    with progress_bar(hidden=as_json) as show:
        release = run_with_encoder(
            lambda r: use_ray(r, ray).releases.reindex(collection, wanted, promote=promote, progress=show)
        )
    print_release(release, as_json)
    if release.state == ReleaseState.FAILED:
        raise typer.Exit(1)
