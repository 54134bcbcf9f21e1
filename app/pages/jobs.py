"""The pages of jobs: what goes on, what failed and why, and what can be done about it."""

from typing import Annotated, Any

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter
from litestar.response import Redirect

from app.http.access import FILTERED, principal_of
from app.jobs.rows import no_such_job
from app.jobs.service import TRAIN
from app.jobs.training import training_report
from app.jobs.types import ItemState, JobFilter, JobInfo, JobState
from app.pages.fields import chosen_of
from app.pages.job_views import KINDS, STATES, ItemView, JobView
from app.pages.leaving import go_to
from app.pages.rendering import Connection, fragment, page, wants_fragment
from app.pages.training_views import TrainingView
from app.resources import Resources
from app.services.types import Scope

JobId = Annotated[str, PathParameter(description="Id of the job")]
WantedState = Annotated[str | None, QueryParameter(name="state")]
WantedKind = Annotated[str | None, QueryParameter(name="kind")]
WantedCollection = Annotated[str | None, QueryParameter(name="collection")]
After = Annotated[str | None, QueryParameter(name="after")]
Shown = Annotated[str | None, QueryParameter(name="items")]
AfterItem = Annotated[int | None, QueryParameter(name="after")]
PAGE = 50


class JobPages(Controller):
    """List, follow, stop and take up jobs."""

    path = "/jobs"
    opt = {"collections": FILTERED}  # noqa: RUF012  Litestar's interface

    @get()
    async def list_jobs(  # one for each choice of the page
        self,
        request: Request[Any, Any, Any],
        resources: NamedDependency[Resources],
        wanted_state: WantedState = None,
        kind: WantedKind = None,
        collection: WantedCollection = None,
        after: After = None,
    ) -> Response[str]:
        """A page of jobs, newest first. htmx gets the list alone, to follow what is active."""
        wanted_by = chosen_of(JobState, "state", wanted_state)
        visible = principal_of(request).collections
        wanted = JobFilter(wanted_by, kind or None, collection or None, among=visible)
        found = await resources.jobs.list(wanted, PAGE, after)
        chosen = {"state": wanted_state or "", "kind": kind or "", "collection": collection or ""}
        show = fragment if wants_fragment(request) else page
        template = "fragments/job_list.html" if wants_fragment(request) else "jobs.html"
        return show(
            request,
            template,
            jobs=[JobView.of(job) for job in found.jobs],
            next=found.next,
            first_page=after is None,
            chosen=chosen,
            kinds=KINDS,
            states=STATES,
        )

    @get("/{job_id:str}")
    async def show_job(
        self,
        request: Request[Any, Any, Any],
        job_id: JobId,
        resources: NamedDependency[Resources],
        items: Shown = None,
        after: AfterItem = None,
    ) -> Response[str]:
        """One job with its items; of a training also what it has told. htmx gets the part that changes."""
        job = await visible_job(request, resources, job_id)
        context = await job_context(request, resources, job, chosen_of(ItemState, "items", items), after)
        if wants_fragment(request):
            return fragment(request, "fragments/job.html", **context)
        return page(request, "job.html", **context)

    @post("/{job_id:str}/cancel", scope=Scope.WRITE)
    async def cancel(
        self, request: Request[Any, Any, Any], job_id: JobId, resources: NamedDependency[Resources]
    ) -> Response[str] | Redirect:
        """Stop a job; what it has done stays."""
        await visible_job(request, resources, job_id)
        return await _changed(request, resources, await resources.jobs.cancel(job_id))

    @post("/{job_id:str}/resume", scope=Scope.WRITE)
    async def resume(
        self, request: Request[Any, Any, Any], job_id: JobId, resources: NamedDependency[Resources]
    ) -> Response[str] | Redirect:
        """Take a job up again where it stopped."""
        await visible_job(request, resources, job_id)
        return await _changed(request, resources, await resources.jobs.resume(job_id))

    @post("/{job_id:str}/retry", scope=Scope.WRITE)
    async def retry(
        self, request: Request[Any, Any, Any], job_id: JobId, resources: NamedDependency[Resources]
    ) -> Response[str] | Redirect:
        """Try the items that failed again."""
        await visible_job(request, resources, job_id)
        return await _changed(request, resources, await resources.jobs.retry(job_id))


async def visible_job(request: Connection, resources: Resources, job_id: str) -> JobInfo:
    """A job that the caller may see. Raises NotFound, also for one of a collection that is not his."""
    job = await resources.jobs.get(job_id)
    if not principal_of(request).may_see(job.collection):
        raise no_such_job(job_id)
    return job


async def job_context(
    request: Connection,
    resources: Resources,
    job: JobInfo,
    state: ItemState | None = None,
    after: int | None = None,
) -> dict[str, Any]:
    """What the template of a job names. state, after: of the items that are shown."""
    found = await resources.jobs.items(job.id, state, PAGE, after)
    return {
        "job": JobView.of(job),
        "items": [ItemView.of(item) for item in found.items],
        "next": found.next,
        "shown": state or "",
        "after": after,
        "training": await training_of(request, resources, job),
    }


async def training_of(request: Connection, resources: Resources, job: JobInfo) -> TrainingView | None:
    """What a training has told. It quotes questions of people, so only an administrator sees it."""
    if job.kind != TRAIN or job.collection is None or not principal_of(request).allows(Scope.ADMIN):
        return None
    told = await training_report(resources.training, resources.jobs, job.collection, job.id)
    return TrainingView.of(job, told)


async def _changed(request: Connection, resources: Resources, job: JobInfo) -> Response[str] | Redirect:
    if wants_fragment(request):
        return fragment(request, "fragments/job.html", **await job_context(request, resources, job))
    return go_to(request, f"/jobs/{job.id}")
