"""Routes for releases and golden queries, for administrators."""

from typing import Annotated

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter

from app.http.collections import CollectionName
from app.http.problems import problem_responses
from app.http.release_schemas import (
    GoldenList,
    GoldenReply,
    NewGoldenQuery,
    PruneReply,
    ReindexReply,
    ReindexRequest,
    ReleaseList,
    ReleaseReply,
)
from app.jobs.reindexing import submit_reindex
from app.resources import Resources
from app.services.types import Scope

Number = Annotated[int, PathParameter(description="Number of the release")]
GoldenId = Annotated[int, PathParameter(description="Id of the golden query")]


class ReleaseController(Controller):
    """Change a collection's encoder and chunks without a pause, and go back."""

    path = "/admin/collections/{name:str}"
    tags = ("Releases",)

    @post(
        "/reindex",
        scope=Scope.ADMIN,
        status_code=202,
        summary="Reindex a collection",
        responses=problem_responses(404, 409, 415),
    )
    async def reindex(
        self, name: CollectionName, data: JSONBody[ReindexRequest], resources: NamedDependency[Resources]
    ) -> ReindexReply:
        """Start a job that makes a release with another encoder, other chunks or another index engine,
        verifies it, and puts it in service. Searches and writes go on meanwhile.
        """
        return ReindexReply.of(*await submit_reindex(resources, name, data.to_input(), data.promote))

    @get("/releases", scope=Scope.ADMIN, summary="List the releases", responses=problem_responses(404))
    async def list_releases(self, name: CollectionName, resources: NamedDependency[Resources]) -> ReleaseList:
        """What the collection serves, served and may serve, the latest first."""
        return ReleaseList([ReleaseReply.of(each) for each in await resources.releases.list(name)])

    @get(
        "/releases/{number:int}",
        scope=Scope.ADMIN,
        summary="Show a release",
        responses=problem_responses(404),
    )
    async def get_release(
        self, name: CollectionName, number: Number, resources: NamedDependency[Resources]
    ) -> ReleaseReply:
        """One release with the report of its verification."""
        return ReleaseReply.of(await resources.releases.get(name, number))

    @post(
        "/releases/{number:int}/promote",
        scope=Scope.ADMIN,
        status_code=200,
        summary="Promote a release",
        responses=problem_responses(404, 409),
    )
    async def promote(
        self, name: CollectionName, number: Number, resources: NamedDependency[Resources]
    ) -> ReleaseReply:
        """Put a release that is ready in service, when it has taken in what was written since it was made."""
        return ReleaseReply.of(await resources.releases.promote(name, number))

    @post(
        "/rollback",
        scope=Scope.ADMIN,
        status_code=200,
        summary="Go back to the previous release",
        responses=problem_responses(404, 409),
    )
    async def roll_back(self, name: CollectionName, resources: NamedDependency[Resources]) -> ReleaseReply:
        """Put the previous release in service again, with all that was written since."""
        return ReleaseReply.of(await resources.releases.rollback(name))

    @post(
        "/prune",
        scope=Scope.ADMIN,
        status_code=200,
        summary="Prune releases",
        responses=problem_responses(404),
    )
    async def prune(self, name: CollectionName, resources: NamedDependency[Resources]) -> PruneReply:
        """Reclaim the chunks, vectors and indexes on engines that only retired and failed releases needed."""
        pruned = await resources.releases.prune(name)
        return PruneReply(pruned.chunks, pruned.vectors, pruned.indexes)


class GoldenController(Controller):
    """Questions whose right documents are known; a new release has to find them as well as the old one."""

    path = "/admin/collections/{name:str}/golden-queries"
    tags = ("Releases",)

    @get(scope=Scope.ADMIN, summary="List the golden queries", responses=problem_responses(404))
    async def list_golden(self, name: CollectionName, resources: NamedDependency[Resources]) -> GoldenList:
        """All golden queries of the collection."""
        return GoldenList([GoldenReply.of(each) for each in await resources.releases.golden(name)])

    @post(scope=Scope.ADMIN, summary="Keep a golden query", responses=problem_responses(404, 415))
    async def add_golden(
        self, name: CollectionName, data: JSONBody[NewGoldenQuery], resources: NamedDependency[Resources]
    ) -> GoldenReply:
        """Keep a question with its documents; one with the same words is replaced."""
        return GoldenReply.of(await resources.releases.add_golden(name, data.query, data.document_ids))

    @delete(
        "/{golden_id:int}",
        scope=Scope.ADMIN,
        summary="Remove a golden query",
        responses=problem_responses(404),
    )
    async def remove_golden(
        self, name: CollectionName, golden_id: GoldenId, resources: NamedDependency[Resources]
    ) -> None:
        """Remove one golden query."""
        await resources.releases.remove_golden(name, golden_id)
