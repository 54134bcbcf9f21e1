"""The pages of collections: which there are, what one holds, and how it is set."""

from dataclasses import dataclass, replace
from typing import Annotated, Any

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter, URLEncodedBody
from litestar.response import Redirect

from app.http.access import FILTERED, principal_of
from app.index_lag import index_lag_of
from app.pages.document_views import first_documents
from app.pages.fields import optional_float, optional_int
from app.pages.leaving import go_to
from app.pages.rendering import Connection, page
from app.resources import Resources
from app.services.feedback_types import FeedbackKind
from app.services.types import CollectionInfo, CollectionSettings, Scope
from embeddings.errors import InvalidInput

CollectionName = Annotated[str, PathParameter(description="Name of the collection")]
Start = Annotated[str | None, QueryParameter(name="start", description="First id that is listed")]
FEEDBACK = {
    FeedbackKind.CLICK: "opened",
    FeedbackKind.THUMBS_UP: "helpful",
    FeedbackKind.THUMBS_DOWN: "not helpful",
    FeedbackKind.ACCEPTED: "answers taken",
}


@dataclass(frozen=True, slots=True)
class NewCollectionForm:
    """A collection that somebody wants. Numbers come as text; empty ones take their defaults."""

    name: str
    chunk_max_tokens: str = ""
    chunk_overlap_tokens: str = ""


@dataclass(frozen=True, slots=True)
class SettingsForm:
    """Settings of a collection. The sizes of chunks come only while there are no documents."""

    refusal_threshold: str = ""
    chunk_max_tokens: str = ""
    chunk_overlap_tokens: str = ""
    keep_conversations: str = ""


@dataclass(frozen=True, slots=True)
class RemovalForm:
    """confirm: the name again, typed by somebody who means it."""

    confirm: str = ""


class CollectionPages(Controller):
    """Make, show, set and delete collections."""

    path = "/collections"

    @get(opt={"collections": FILTERED})
    async def list_collections(
        self, request: Request[Any, Any, Any], resources: NamedDependency[Resources]
    ) -> Response[str]:
        """Every collection that the visitor may see."""
        found = await visible_collections(request, resources)
        return page(request, "collections.html", collections=found, defaults=CollectionSettings())

    @post(scope=Scope.ADMIN)
    async def create(
        self,
        request: Request[Any, Any, Any],
        data: URLEncodedBody[NewCollectionForm],
        resources: NamedDependency[Resources],
    ) -> Response[str] | Redirect:
        """Make a collection and open it."""
        settings = with_sizes(CollectionSettings(), data.chunk_max_tokens, data.chunk_overlap_tokens)
        made = await resources.collections.create(data.name.strip(), settings)
        return go_to(request, f"/collections/{made.name}")

    @get("/{name:str}")
    async def show(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        resources: NamedDependency[Resources],
        start: Start = None,
    ) -> Response[str]:
        """A collection with its documents. start: where the list of them begins."""
        info = await resources.collections.get(name)
        listed = await first_documents(resources.documents, name, start)
        counts = await resources.feedback.counts(name)
        return page(
            request,
            "collection.html",
            collection=name,
            info=info,
            listed=listed,
            start=start or "",
            feedback=[(label, counts[kind]) for kind, label in FEEDBACK.items() if kind in counts],
            lag=await index_lag_of(resources.database, resources.indexes, name),
            limits=resources.settings,
        )

    @post("/{name:str}/settings", scope=Scope.ADMIN)
    async def change_settings(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        data: URLEncodedBody[SettingsForm],
        resources: NamedDependency[Resources],
    ) -> Response[str] | Redirect:
        """Change what the form names, and show the collection again."""
        current = (await resources.collections.get(name)).settings
        settings = replace(
            with_sizes(current, data.chunk_max_tokens, data.chunk_overlap_tokens),
            refusal_threshold=optional_float("refusal_threshold", data.refusal_threshold),
            keep_conversations=bool(data.keep_conversations),
        )
        await resources.collections.update(name, settings)
        return go_to(request, f"/collections/{name}")

    @post("/{name:str}/remove", scope=Scope.ADMIN)
    async def remove(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        data: URLEncodedBody[RemovalForm],
        resources: NamedDependency[Resources],
    ) -> Response[str] | Redirect:
        """Delete a collection with all that it holds. Raises InvalidInput unless its name was typed again."""
        if data.confirm.strip() != name:
            raise InvalidInput(
                "the name that was typed is not the collection's; nothing was deleted",
                field="confirm",
                found=repr(data.confirm[:80]),
                expected=name,
                next_step="type the name of the collection to delete it",
            )
        await resources.collections.delete(name)
        return go_to(request, "/collections")


async def visible_collections(request: Connection, resources: Resources) -> tuple[CollectionInfo, ...]:
    """The collections that the caller may see, by name."""
    principal = principal_of(request)
    return tuple(each for each in await resources.collections.list() if principal.may_see(each.name))


def with_sizes(settings: CollectionSettings, longest: str, overlap: str) -> CollectionSettings:
    """The settings with the sizes of chunks that a form gives; empty ones stay. Raises InvalidInput."""
    max_tokens = optional_int("chunk_max_tokens", longest)
    overlap_tokens = optional_int("chunk_overlap_tokens", overlap)
    return replace(
        settings,
        chunk_max_tokens=settings.chunk_max_tokens if max_tokens is None else max_tokens,
        chunk_overlap_tokens=settings.chunk_overlap_tokens if overlap_tokens is None else overlap_tokens,
    )
