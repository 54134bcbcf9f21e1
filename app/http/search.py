"""The search route."""

from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from app.http.collections import CollectionName
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
        responses=problem_responses(404, 415, 429),
    )
    async def search(
        self, name: CollectionName, data: JSONBody[SearchRequest], resources: NamedDependency[Resources]
    ) -> SearchReply:
        """Passages that matter for the query, best first, each with exact offsets into its document."""
        return SearchReply.of(await resources.search.search(name, data.to_input()), data.explain)
