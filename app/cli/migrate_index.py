"""`footnote migrate-index`: the same index kept by another engine."""

from typing import Annotated

import typer

from app.cli.output import AsJson
from app.cli.releases import print_release
from app.cli.session import run_with_encoder


def migrate_index(
    collection: Annotated[str, typer.Argument(help="Name of the collection.")],
    to: Annotated[
        str,
        typer.Option(
            help="faiss, postgresql, or an engine of FOOTNOTE_INDEX_URL by its URL without a password."
        ),
    ],
    wait_for_approval: Annotated[
        bool,
        typer.Option("--wait-for-approval", help="Leave the release ready for `footnote releases promote`."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Move a collection's index to another engine, verify it there, and put it in service.

    Nothing is encoded anew. Searches and writes go on meanwhile, and the index before is kept for a rollback.
    After a kill the same command goes on where it stopped. The exit status is 1 when the new index fails its
    verification; the one in service stays then.
    """
    from app.cli.progress import progress_bar
    from app.services.release_types import ReindexInput, ReleaseState

    wanted = ReindexInput(engine=to)
    with progress_bar(hidden=as_json) as show:
        release = run_with_encoder(
            lambda r: r.releases.reindex(collection, wanted, promote=not wait_for_approval, progress=show)
        )
    print_release(release, as_json)
    if release.state == ReleaseState.FAILED:
        raise typer.Exit(1)
