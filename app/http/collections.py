"""Routes for collections."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter

from app.http.access import FILTERED, principal_of
from app.http.collection_schemas import CollectionChange, CollectionList, CollectionReply, NewCollection
from app.http.idempotency import Keyed
from app.http.problems import problem_responses
from app.resources import Resources
from app.services.types import CollectionInfo, CollectionSettings, Scope

CollectionName = Annotated[str, PathParameter(description="Name of the collection")]


def _reply(info: CollectionInfo) -> CollectionReply:
    return msgspec.convert(info, CollectionReply, from_attributes=True)


class CollectionController(Controller):
    """Make, list, change and delete collections."""

    path = "/collections"
    tags = ("Collections",)

    @post(scope=Scope.ADMIN, summary="Create a collection", responses=problem_responses(409, 415))
    async def create_collection(
        self,
        data: JSONBody[NewCollection],
        resources: NamedDependency[Resources],
        keyed: NamedDependency[Keyed],
    ) -> CollectionReply:
        """Make an empty collection. Settings that are left out take their defaults."""
        settings = data.settings.applied_to(CollectionSettings())
        receipt = keyed.receipt(201, _reply)
        return _reply(await resources.collections.create(data.name, settings, receipt))

    @get(summary="List the collections", opt={"collections": FILTERED}, responses=problem_responses())
    async def list_collections(
        self, request: Request[Any, Any, Any], resources: NamedDependency[Resources]
    ) -> CollectionList:
        """All collections that the caller may see, by name, with their settings and counts."""
        may_see = principal_of(request).may_see
        found = await resources.collections.list()
        return CollectionList([_reply(info) for info in found if may_see(info.name)])

    @get("/{name:str}", summary="Show a collection", responses=problem_responses(404))
    async def get_collection(
        self, name: CollectionName, resources: NamedDependency[Resources]
    ) -> CollectionReply:
        """One collection with its settings and counts."""
        return _reply(await resources.collections.get(name))

    @patch(
        "/{name:str}",
        scope=Scope.ADMIN,
        summary="Change a collection's settings",
        responses=problem_responses(404, 409, 415),
    )
    async def update_collection(
        self,
        name: CollectionName,
        data: JSONBody[CollectionChange],
        resources: NamedDependency[Resources],
        keyed: NamedDependency[Keyed],
    ) -> CollectionReply:
        """Change the given settings. Another chunking needs a reindex once there are documents."""
        current = await resources.collections.get(name)
        settings = data.settings.applied_to(current.settings)
        return _reply(await resources.collections.update(name, settings, keyed.receipt(200, _reply)))

    @delete("/{name:str}", scope=Scope.ADMIN, summary="Delete a collection", responses=problem_responses(404))
    async def delete_collection(
        self, name: CollectionName, resources: NamedDependency[Resources], keyed: NamedDependency[Keyed]
    ) -> None:
        """Delete the collection with everything in it, for good."""
        await resources.collections.delete(name, keyed.receipt_without_body())
