"""Routes for jobs."""

from typing import Annotated, Any

from litestar import Controller, Request, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State, UploadFile
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import JSONBody, MultipartBody, PathParameter, QueryParameter
from litestar.response import Stream

from app.http.access import FILTERED, principal_of
from app.http.collections import CollectionName
from app.http.document_schemas import FileForm
from app.http.documents import require_form
from app.http.event_stream import EVENT_STREAM
from app.http.job_schemas import JobItemList, JobList, JobReply, NewSnapshot
from app.http.job_stream import open_job_stream
from app.http.problems import problem_responses
from app.http.request import decode_form_json
from app.jobs.rows import no_such_job
from app.jobs.snapshot import submit_snapshot
from app.jobs.types import ItemState, JobFilter, JobState
from app.jobs.uploads import Upload
from app.overload import Load
from app.resources import Resources
from app.services.types import Scope

JobId = Annotated[str, PathParameter(description="Id of the job")]
WantedState = Annotated[JobState | None, QueryParameter(name="state", description="Only jobs in this state")]
WantedKind = Annotated[str | None, QueryParameter(description="Only jobs of this kind")]
WantedCollection = Annotated[str | None, QueryParameter(description="Only jobs of this collection")]
WantedItemState = Annotated[
    ItemState | None, QueryParameter(name="state", description="Only items in this state")
]
Limit = Annotated[int, QueryParameter(description="How many, from 1 to 1000")]
After = Annotated[str | None, QueryParameter(description="`next` of the page before")]
AfterItem = Annotated[int | None, QueryParameter(description="`next` of the page before")]


async def require_visible_job(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: raise NotFound for a job of a collection that the caller may not see, and, to a caller who is
    limited to some, for a job of none.
    """
    job_id, caller = connection.path_params.get("job_id"), principal_of(connection)
    if job_id is None or caller.collections is None:
        return
    resources: Resources = connection.app.state.opening.resources
    if not caller.may_see((await resources.jobs.get(job_id)).collection):
        raise no_such_job(job_id)


class JobController(Controller):
    """Follow, cancel and take up jobs."""

    path = "/jobs"
    tags = ("Jobs",)
    opt = {"collections": FILTERED}  # noqa: RUF012  Litestar's interface
    guards = (require_visible_job,)

    @get(summary="List the jobs", responses=problem_responses())
    async def list_jobs(  # one for each parameter of the route
        self,
        request: Request[Any, Any, Any],
        resources: NamedDependency[Resources],
        wanted_state: WantedState = None,  # Litestar keeps `state` for itself
        kind: WantedKind = None,
        collection: WantedCollection = None,
        limit: Limit = 100,
        after: After = None,
    ) -> JobList:
        """One page of the jobs that the caller may see, newest first."""
        wanted = JobFilter(wanted_state, kind, collection, principal_of(request).collections)
        return JobList.of(await resources.jobs.list(wanted, limit, after))

    @get("/{job_id:str}", summary="Show a job", responses=problem_responses(404))
    async def get_job(self, job_id: JobId, resources: NamedDependency[Resources]) -> JobReply:
        """One job as it stands now."""
        return JobReply.of(await resources.jobs.get(job_id))

    @get("/{job_id:str}/items", summary="List the items of a job", responses=problem_responses(404))
    async def list_items(
        self,
        job_id: JobId,
        resources: NamedDependency[Resources],
        wanted_state: WantedItemState = None,
        limit: Limit = 100,
        after: AfterItem = None,
    ) -> JobItemList:
        """One page of items, in their order, each with its state and its reason when it failed."""
        return JobItemList.of(await resources.jobs.items(job_id, wanted_state, limit, after))

    @get(
        "/{job_id:str}/events",
        load=Load.FOLLOW,
        media_type=EVENT_STREAM,
        summary="Follow a job",
        responses=problem_responses(404),
    )
    async def follow_job(self, job_id: JobId, resources: NamedDependency[Resources], state: State) -> Stream:
        """Server-sent events: `progress` with the job as JSON, now and after each change, and `end` when it
        has ended. A comment comes at least every 10 seconds.
        """
        await resources.jobs.get(job_id)  # an unknown job is a 404 and not a stream
        return open_job_stream(resources.jobs.follow(job_id), state.opening.leaving)

    @post(
        "/{job_id:str}/cancel",
        scope=Scope.WRITE,
        status_code=200,
        summary="Cancel a job",
        responses=problem_responses(404, 409),
    )
    async def cancel_job(self, job_id: JobId, resources: NamedDependency[Resources]) -> JobReply:
        """Stop the job within two seconds. What it has done stays."""
        return JobReply.of(await resources.jobs.cancel(job_id))

    @post(
        "/{job_id:str}/resume",
        scope=Scope.WRITE,
        status_code=200,
        summary="Resume a job",
        responses=problem_responses(404, 409),
    )
    async def resume_job(self, job_id: JobId, resources: NamedDependency[Resources]) -> JobReply:
        """Take a cancelled or failed job up again where it stopped."""
        return JobReply.of(await resources.jobs.resume(job_id))

    @post(
        "/{job_id:str}/retry",
        scope=Scope.WRITE,
        status_code=200,
        summary="Retry the items that failed",
        responses=problem_responses(404, 409),
    )
    async def retry_job(self, job_id: JobId, resources: NamedDependency[Resources]) -> JobReply:
        """Try the failed items again, and no others."""
        return JobReply.of(await resources.jobs.retry(job_id))


class IngestJobController(Controller):
    """Take many or large files in."""

    path = "/collections/{name:str}/jobs"
    tags = ("Jobs",)

    @post(
        "/ingest",
        scope=Scope.WRITE,
        status_code=202,
        summary="Add files in a job",
        guards=[require_form],
        responses=problem_responses(404, 413, 415, 507),
    )
    async def ingest_files(
        self,
        name: CollectionName,
        data: MultipartBody[FileForm],
        resources: NamedDependency[Resources],
    ) -> JobReply:
        """Take files in for a job. They are safe on the disk when this answers, and become searchable one by
        one; each is an item with its own state.
        """
        metadata = decode_form_json("metadata", data.metadata, dict[str, Any]) if data.metadata else {}
        uploads = [_upload(file) for file in data.file]
        return JobReply.of(await resources.jobs.ingest_files(name, uploads, metadata))


class SnapshotJobController(Controller):
    """Back the data folder up."""

    path = "/snapshots"
    tags = ("Jobs",)

    @post(
        scope=Scope.ADMIN, status_code=202, summary="Write a snapshot", responses=problem_responses(409, 415)
    )
    async def create_snapshot(
        self, data: JSONBody[NewSnapshot], resources: NamedDependency[Resources]
    ) -> JobReply:
        """Write a snapshot of all that is acknowledged by now, while reading and writing go on. The file
        stays on the server; the result of the job names it.
        """
        return JobReply.of(await submit_snapshot(resources.jobs, resources.settings, data.name))


def _upload(file: UploadFile) -> Upload:
    media_type = file.content_type if file.content_type != "application/octet-stream" else None
    file.file.seek(0)
    return Upload(file.filename, file.file, media_type)
