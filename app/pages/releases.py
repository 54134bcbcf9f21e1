"""The page of a collection's releases: what serves, what could, what was learned, and the way back."""

from dataclasses import dataclass
from typing import Annotated, Any

from litestar import Controller, Request, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency
from litestar.params import MultipartBody, PathParameter, URLEncodedBody
from litestar.response import Redirect

from app.http.access import principal_of
from app.http.documents import require_form
from app.jobs.reindexing import submit_reindex
from app.jobs.service import TRAIN
from app.jobs.training import submit_training
from app.jobs.types import JobFilter
from app.jobs.uploads import Upload
from app.pages.collections import CollectionName
from app.pages.documents import chosen
from app.pages.fields import json_object, optional_int
from app.pages.jobs import training_of
from app.pages.leaving import go_to
from app.pages.models import shelved_models
from app.pages.release_views import previous_of, prunable, show_releases
from app.pages.rendering import Connection, fragment, page, wants_fragment
from app.pages.training_views import TrainingView
from app.resources import Resources
from app.services.release_types import ReindexInput
from app.services.training_types import Promotion, TrainingInput
from app.services.types import CollectionInfo, Scope

Number = Annotated[int, PathParameter(description="Number of the release")]
GoldenId = Annotated[int, PathParameter(description="Id of the golden query")]
# Each one is a look into its folder.
SHOWN_TRAININGS = 10


@dataclass(frozen=True, slots=True)
class ReindexForm:
    """A release that somebody wants; empty fields keep what the release in service has."""

    encoder: str = ""
    chunk_max_tokens: str = ""
    chunk_overlap_tokens: str = ""
    engine: str = ""
    promote: str = ""


@dataclass(frozen=True, slots=True)
class TrainForm:
    """A training that somebody wants. file: as in `UploadForm`; dry_run, promote: not empty when they are
    ticked; plan: JSON.
    """

    file: Any = None
    name: str = ""
    promote: str = ""
    dry_run: str = ""
    plan: str = ""


@dataclass(frozen=True, slots=True)
class GoldenForm:
    """A question and the ids of the documents that have to be found for it, one a line."""

    query: str
    document_ids: str


class ReleasePages(Controller):
    """Retrain, promote, roll back and prune."""

    path = "/collections/{name:str}/releases"

    @get()
    async def show(
        self, request: Request[Any, Any, Any], name: CollectionName, resources: NamedDependency[Resources]
    ) -> Response[str]:
        """All releases of a collection, and the trainings that were made for it."""
        return page(request, "releases.html", **await _context(request, resources, name))

    @post("/{number:int}/promote", scope=Scope.ADMIN)
    async def promote(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        number: Number,
        resources: NamedDependency[Resources],
    ) -> Response[str] | Redirect:
        """Put a release in service."""
        await resources.releases.promote(name, number)
        return await _again(request, resources, name)

    @post("/rollback", scope=Scope.ADMIN)
    async def roll_back(
        self, request: Request[Any, Any, Any], name: CollectionName, resources: NamedDependency[Resources]
    ) -> Response[str] | Redirect:
        """Put the previous release in service again."""
        await resources.releases.rollback(name)
        return await _again(request, resources, name)

    @post("/prune", scope=Scope.ADMIN)
    async def prune(
        self, request: Request[Any, Any, Any], name: CollectionName, resources: NamedDependency[Resources]
    ) -> Response[str] | Redirect:
        """Reclaim what no kept release needs."""
        pruned = await resources.releases.prune(name)
        return await _again(request, resources, name, pruned=pruned)

    @post("/train", scope=Scope.ADMIN, guards=[require_form])
    async def train(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        data: MultipartBody[TrainForm],
        resources: NamedDependency[Resources],
    ) -> Response[str] | Redirect:
        """Start a training, and show it at work."""
        wanted = TrainingInput(
            name=data.name.strip() or None,
            promote=Promotion.GATE if data.promote else Promotion.NEVER,
            dry_run=bool(data.dry_run),
            plan=json_object("plan", data.plan),
        )
        uploads = [_upload(each) for each in chosen(data.file)]
        job = await submit_training(resources.training, resources.jobs, name, wanted, uploads)
        return go_to(request, f"/jobs/{job.id}")

    @post("/reindex", scope=Scope.ADMIN)
    async def reindex(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        data: URLEncodedBody[ReindexForm],
        resources: NamedDependency[Resources],
    ) -> Response[str] | Redirect:
        """Start a job that makes a release with another encoder, other chunks or another index engine, and
        show it at work.
        """
        wanted = ReindexInput(
            data.encoder or None,
            optional_int("chunk_max_tokens", data.chunk_max_tokens),
            optional_int("chunk_overlap_tokens", data.chunk_overlap_tokens),
            data.engine or None,
        )
        _, job = await submit_reindex(resources, name, wanted, bool(data.promote))
        return go_to(request, f"/jobs/{job.id}")

    @post("/golden", scope=Scope.ADMIN)
    async def add_golden(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        data: URLEncodedBody[GoldenForm],
        resources: NamedDependency[Resources],
    ) -> Response[str] | Redirect:
        """Keep a question with the documents that every release has to find for it."""
        ids = [line.strip() for line in data.document_ids.splitlines() if line.strip()]
        await resources.releases.add_golden(name, data.query, ids)
        return await _again(request, resources, name)

    @post("/golden/{golden_id:int}/remove", scope=Scope.ADMIN)
    async def remove_golden(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        golden_id: GoldenId,
        resources: NamedDependency[Resources],
    ) -> Response[str] | Redirect:
        """Forget a golden query."""
        await resources.releases.remove_golden(name, golden_id)
        return await _again(request, resources, name)


async def _again(
    request: Connection, resources: Resources, name: str, **told: Any
) -> Response[str] | Redirect:
    """The releases as they are now. told: what was done, for the page to say."""
    if not wants_fragment(request):
        return go_to(request, f"/collections/{name}/releases")
    return fragment(request, "fragments/releases.html", **await _context(request, resources, name), **told)


async def _context(request: Connection, resources: Resources, name: str) -> dict[str, Any]:
    info = await resources.collections.get(name)
    may_change = principal_of(request).allows(Scope.ADMIN)
    trainings = await _trainings(request, resources, info)
    releases = show_releases(await resources.releases.list(name), trainings)
    return {
        "collection": name,
        "info": info,
        "releases": releases,
        "serving": next(each for each in releases if each.serving),
        "previous": previous_of(releases),
        "prunable": prunable(releases),
        "trainings": trainings,
        "engines": resources.engines.names if may_change else (),
        "golden": await resources.releases.golden(name) if may_change else (),
        "encoders": [each for each in await shelved_models(resources) if each.kind == "encoder"],
    }


async def _trainings(request: Connection, resources: Resources, info: CollectionInfo) -> list[TrainingView]:
    """The latest trainings of the collection; none for visitors who are no administrators."""
    if not principal_of(request).allows(Scope.ADMIN):
        return []
    found = await resources.jobs.list(JobFilter(kind=TRAIN, collection=info.name), SHOWN_TRAININGS)
    # An older job belongs to a collection of the same name that was deleted.
    own = [job for job in found.jobs if job.created_at >= info.created_at]
    views = [await training_of(request, resources, job) for job in own]
    return [view for view in views if view is not None]


def _upload(file: UploadFile) -> Upload:
    file.file.seek(0)
    return Upload(file.filename, file.file)
