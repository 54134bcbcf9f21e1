"""The map of a collection. Its points come from the JSON API; the page is drawn by its script."""

from typing import Any

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency

from app.pages.collections import CollectionName
from app.pages.rendering import page
from app.resources import Resources
from app.services.mapping import DEFAULT_POINTS, MAX_POINTS
from app.services.types import Scope

# Numbers of points that are offered.
SIZES = (500, DEFAULT_POINTS, MAX_POINTS)


class MapPages(Controller):
    """What of a collection lies near what."""

    path = "/collections/{name:str}"

    @get("/map", scope=Scope.READ)
    async def map_page(
        self, request: Request[Any, Any, Any], name: CollectionName, resources: NamedDependency[Resources]
    ) -> Response[str]:
        """The page around the map. What is drawn and where the visitor looks stands in the address."""
        info = await resources.collections.get(name)
        return page(request, "map.html", collection=name, info=info, sizes=SIZES, usual=DEFAULT_POINTS)
