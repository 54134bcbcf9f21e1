"""The reader: a document opened at the span that an answer or a search points to."""

from typing import Annotated, Any

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import PathParameter, QueryParameter

from app.http.collections import CollectionName
from app.http.documents import external_id_after
from app.pages.reading import Place, read
from app.pages.rendering import fragment, page, wants_fragment
from app.resources import Resources
from app.services.types import Scope

# /collections/NAME/documents/ID: the id is what follows the fourth slash.
_SLASHES_BEFORE_ID = 4

Version = Annotated[int | None, QueryParameter(name="v", description="Version; the current one by default")]
Start = Annotated[int | None, QueryParameter(name="s", description="First code point of the span")]
End = Annotated[int | None, QueryParameter(name="e", description="One past its last code point")]
First = Annotated[int | None, QueryParameter(name="a", ge=0, description="First code point that is shown")]
Last = Annotated[int | None, QueryParameter(name="z", ge=0, description="One past the last that is shown")]


def provide_page_id(request: Request[Any, Any, Any], document_id: Annotated[str, PathParameter()]) -> str:  # noqa: ARG001
    """Dependency: the external id as it was sent."""
    return external_id_after(request, _SLASHES_BEFORE_ID)


def provide_place(
    version: Version = None, start: Start = None, end: End = None, first: First = None, last: Last = None
) -> Place:
    """Dependency: where the address opens the document."""
    return Place(version, start, end, first, last)


class ReaderController(Controller):
    """Read documents."""

    dependencies = {  # noqa: RUF012
        "external_id": Provide(provide_page_id, sync_to_thread=False),
        "place": Provide(provide_place, sync_to_thread=False),
    }

    @get("/collections/{name:str}/documents/{document_id:path}", scope=Scope.READ)
    async def read_document(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        external_id: NamedDependency[str],
        place: NamedDependency[Place],
        resources: NamedDependency[Resources],
    ) -> Response[str]:
        """The document, as a page; for htmx beside the answer, or another stretch of it."""
        excerpt = await read(resources, name, external_id, place)
        part = request.query_params.get("part")  # earlier or later: only this stretch of the text
        context: dict[str, Any] = {"excerpt": excerpt, "collection": name, "part": part}
        if not wants_fragment(request):
            return page(request, "reader.html", beside=False, **context)
        template = "fragments/stretch.html" if part else "fragments/document.html"
        return fragment(request, template, beside=True, **context)
