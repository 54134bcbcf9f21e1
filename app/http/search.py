"""The search route."""

from typing import Any

from litestar import Controller, Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from app.http.collections import CollectionName
from app.http.disconnect import while_connected
from app.http.problems import problem_responses
from app.http.search_schemas import SearchReply, SearchRequest
from app.resources import Resources
from app.services.types import Scope


class SearchController(Controller):
    """Find passages by meaning and by words."""

    path = "/collections/{name:str}"
    tags = ("Search",)

    @post(
        "/search",
        scope=Scope.READ,
        status_code=200,
        summary="Search",
        responses=problem_responses(404, 415, 504),
    )
    async def search(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        data: JSONBody[SearchRequest],
        resources: NamedDependency[Resources],
    ) -> SearchReply:
        """Passages that matter for the query, best first, each with exact offsets into its document."""
        work = resources.search.search(name, data.to_input())
        return SearchReply.of(await while_connected(request, work), data.explain)
