"""What is done with documents on the page of their collection: listed, sent, deleted."""

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from litestar import Controller, Request, Response, get, post
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency
from litestar.params import MultipartBody, QueryParameter, URLEncodedBody
from litestar.response import Redirect

from app.http.documents import require_form
from app.jobs.types import ItemState
from app.jobs.uploads import Upload
from app.pages.collections import CollectionName
from app.pages.document_views import PAGE, UploadedFile, first_documents
from app.pages.jobs import job_context
from app.pages.leaving import go_to
from app.pages.rendering import fragment, page, wants_fragment
from app.resources import Resources
from app.services.types import FileInput, Scope

After = Annotated[str | None, QueryParameter(name="after", description="Id before the first that is listed")]
_UNKNOWN_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class UploadForm:
    """file: of the type that `chosen` reads, which no decoder of forms can name."""

    file: Any


@dataclass(frozen=True, slots=True)
class DeletionForm:
    """id: of one document or of many, as the form's fields come. start: where the list on the page begins."""

    id: list[str] | str = ""
    start: str = ""

    @property
    def ids(self) -> list[str]:
        """Of the documents that were selected."""
        return self.id if isinstance(self.id, list) else [self.id] if self.id else []


class DocumentPages(Controller):
    """The parts of a collection's page that change."""

    path = "/collections/{name:str}"

    @get("/listing")
    async def list_more(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        resources: NamedDependency[Resources],
        after: After = None,
    ) -> Response[str]:
        """The next rows of the list of documents."""
        listed = await resources.documents.list(name, PAGE, after)
        return fragment(request, "fragments/document_rows.html", collection=name, listed=listed)

    @post("/listing/remove", scope=Scope.WRITE)
    async def remove(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        data: URLEncodedBody[DeletionForm],
        resources: NamedDependency[Resources],
    ) -> Response[str] | Redirect:
        """Delete documents, and show the list again. No search finds them once this has answered."""
        if data.ids:
            await resources.documents.delete_where(name, ids=data.ids)
        if not wants_fragment(request):
            start = "?start=" + quote(data.start, safe="") if data.start else ""
            return go_to(request, f"/collections/{name}{start}")
        info = await resources.collections.get(name)
        listed = await first_documents(resources.documents, name, data.start)
        context: dict[str, Any] = {"collection": name, "info": info, "listed": listed, "start": data.start}
        return fragment(request, "fragments/documents.html", **context)

    @post("/upload", scope=Scope.WRITE, guards=[require_form])
    async def upload(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        data: MultipartBody[UploadForm],
        resources: NamedDependency[Resources],
    ) -> Response[str]:
        """Take files in; they are searchable when this answers. Each tells what became of it."""
        sent = chosen(data.file)
        files = [FileInput(each.filename, await each.read(), media_type=_media_type(each)) for each in sent]
        uploaded = []
        for file in files:
            results = await resources.documents.add_files(name, [file])
            uploaded.append(UploadedFile.of(file.filename, results))
        show = fragment if wants_fragment(request) else page
        template = "fragments/uploaded.html" if wants_fragment(request) else "uploaded.html"
        return show(request, template, collection=name, files=uploaded)

    @post("/upload-job", scope=Scope.WRITE, guards=[require_form])
    async def upload_for_job(
        self,
        request: Request[Any, Any, Any],
        name: CollectionName,
        data: MultipartBody[UploadForm],
        resources: NamedDependency[Resources],
    ) -> Response[str] | Redirect:
        """Take many or large files in for a job; they are safe on the disk when this answers."""
        uploads = [_upload(each) for each in chosen(data.file)]
        job = await resources.jobs.ingest_files(name, uploads)
        if not wants_fragment(request):
            return go_to(request, f"/jobs/{job.id}")
        context = await job_context(request, resources, job, ItemState.ERROR)
        return fragment(request, "fragments/job.html", **context)


def chosen(field: Any) -> list[UploadFile]:
    """The files in a form's field: one, or a list of them, or the empty text that a browser sends where
    nobody chose any.
    """
    found = field if isinstance(field, list) else [field]
    return [file for file in found if isinstance(file, UploadFile)]


def _upload(file: UploadFile) -> Upload:
    file.file.seek(0)
    return Upload(file.filename, file.file, _media_type(file))


def _media_type(file: UploadFile) -> str | None:
    """What the browser says of the file's format, unless it says nothing."""
    return file.content_type if file.content_type not in {"", _UNKNOWN_TYPE} else None
