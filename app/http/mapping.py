"""The map of a collection."""

import gzip
from typing import Annotated, Any

import msgspec
from anyio import to_thread
from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.openapi import ResponseSpec
from litestar.params import QueryParameter

from app.http.collections import CollectionName
from app.http.disconnect import while_connected
from app.http.map_schemas import MapReply
from app.http.problems import problem_responses
from app.overload import Load
from app.resources import Resources
from app.services.map_fields import field_values
from app.services.mapping import DEFAULT_POINTS, MAX_POINTS, CollectionMap
from app.services.types import Scope

# Of compression: beyond it time grows more than size shrinks.
_LEVEL = 5

Points = Annotated[
    int, QueryParameter(description=f"At most so many points, up to {MAX_POINTS}: an even sample of more")
]
Field = Annotated[
    str | None, QueryParameter(description="Metadata field whose values are told, to colour the points by")
]


class MapController(Controller):
    """What lies near what."""

    path = "/collections/{name:str}"
    tags = ("Text tasks",)

    @get(
        "/map",
        scope=Scope.READ,
        load=Load.SEARCH,
        summary="Map a collection",
        responses={
            200: ResponseSpec(MapReply, generate_examples=False, description="The map"),
            **problem_responses(404, 429, 504),
        },
    )
    async def get_map(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        resources: NamedDependency[Resources],
        points: Points = DEFAULT_POINTS,
        field: Field = None,
    ) -> Response[Any]:
        """The passages as points of a plane, those that mean much the same near one another, in clusters.

        The first call after a change draws the map anew, which takes some seconds.
        """
        found = await while_connected(request, resources.mapping.map(name, points))
        zipped = _takes_gzip(request)
        # Thousands of points keep the event loop for a tenth of a second.
        body = await to_thread.run_sync(_encode, found, field, zipped)
        headers = {"Vary": "Accept-Encoding"} | ({"Content-Encoding": "gzip"} if zipped else {})
        return Response(body, media_type=MediaType.JSON, headers=headers)


def _encode(found: CollectionMap, field: str | None, zipped: bool) -> bytes:
    """The reply as JSON. zipped: in a third of the bytes. Raises InvalidInput for a field of no document."""
    values = None if field is None else field_values(found.documents, field)
    body = msgspec.json.encode(MapReply.of(found, values))
    return gzip.compress(body, _LEVEL, mtime=0) if zipped else body


def _takes_gzip(request: Request[Any, Any, Any]) -> bool:
    for offer in request.headers.get("accept-encoding", "").lower().split(","):
        name, _, quality = offer.replace(" ", "").partition(";q=")
        if name == "gzip":
            return quality.strip("0.") != "" or not quality
    return False
