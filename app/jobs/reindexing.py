"""The job that makes a release, verifies it and puts it in service."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from app.jobs.context import JobContext
from app.jobs.types import JobInfo
from app.services.release_types import ReindexInput, Release, ReleaseState

if TYPE_CHECKING:
    from app.resources import Resources

REINDEX = "reindex"


async def submit_reindex(
    resources: "Resources", name: str, wanted: ReindexInput, promote: bool
) -> tuple[Release, JobInfo]:
    """Begin the release that is wanted and ask for the job that makes it.

    A job that makes the same release already is the answer. Raises NotFound, InvalidInput, ModelDamaged and
    Conflict as `ReleaseService.begin` does.
    """
    release = await resources.releases.begin(name, wanted)
    asked = {"number": release.number, "promote": promote}
    active = await resources.jobs.find_active(REINDEX, name)
    if active is not None and dict(active.input) == asked:
        return release, active
    return release, await resources.jobs.submit(REINDEX, name, asked)


async def reindex(context: JobContext) -> dict[str, Any]:
    """Do the work; what an earlier attempt has done is found in SQL and not done again.

    Returns number, state and report of the release; a release that fails its verification is no failure of
    the job. Raises NotFound when the collection or the release is gone, ModelDamaged, StorageFull.
    """

    def show(what: str, done: int, total: int) -> None:
        context.progress(done, total, what)

    name, number = context.collection or "", int(context.input["number"])
    releases = context.resources.releases
    release = await releases.build(name, number, show)
    if context.input["promote"] and release.state == ReleaseState.READY:
        release = await releases.promote(name, number, show)
    shown = asdict(release)
    return {key: shown[key] for key in ("number", "state", "report")}
