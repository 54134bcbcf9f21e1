"""Routes for documents: add, list, read, delete."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, unquote_to_bytes

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import UploadFile
from litestar.di import NamedDependency, Provide
from litestar.enums import RequestEncodingType
from litestar.handlers import BaseRouteHandler
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody, MultipartBody, PathParameter, QueryParameter

from app.http.collections import CollectionName
from app.http.document_schemas import (
    BatchReply,
    Deletion,
    DeletionReply,
    DocumentBatch,
    DocumentList,
    DocumentReply,
    FileForm,
    TextReply,
)
from app.http.idempotency import Keyed
from app.http.problems import problem_responses
from app.http.request import decode_form_json, require_content_type
from app.resources import Resources
from app.services.types import FileInput, OriginalFile, Scope
from embeddings.errors import InvalidInput

# /v1/collections/NAME/documents/ID: the id is what follows the fifth slash. The same for text and originals.
_SLASHES_BEFORE_ID = 5

_ANY_FILE = ResponseSpec(
    bytes, generate_examples=False, media_type="*/*", description="The file, in its own media type"
)

DocumentIdInPath = Annotated[
    str, PathParameter(description="External id of the document; slashes may stay as they are")
]
Limit = Annotated[int, QueryParameter(description="How many documents, from 1 to 1000")]
After = Annotated[str | None, QueryParameter(description="`next` of the page before")]
WantedVersion = Annotated[int | None, QueryParameter(description="Version; the current one when left out")]
FirstCodePoint = Annotated[int | None, QueryParameter(description="First code point; 0 when left out")]
EndCodePoint = Annotated[
    int | None, QueryParameter(description="One past the last code point; the end when left out")
]


def provide_external_id(request: Request[Any, Any, Any], document_id: DocumentIdInPath) -> str:  # noqa: ARG001
    """Dependency: the external id as it was sent.

    document_id has lost double and trailing slashes, which ids such as URLs need; it is here for the API's
    description. Raises InvalidInput when the id is not UTF-8.
    """
    return external_id_after(request, _SLASHES_BEFORE_ID)


def external_id_after(request: Request[Any, Any, Any], slashes: int) -> str:
    """What follows that many slashes of the path, as it was sent. Raises InvalidInput when not UTF-8."""
    raw_path: bytes = request.scope["raw_path"]
    raw_id = raw_path.partition(b"?")[0].split(b"/", slashes)[slashes]
    try:
        return unquote_to_bytes(raw_id).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(
            "the document id is not valid UTF-8",
            field="id",
            found=repr(raw_id),
            expected="percent-encoded UTF-8",
        ) from error


def require_form(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: raise UnsupportedFormat before a body of another kind is read as a form."""
    require_content_type(Request(connection.scope), RequestEncodingType.MULTI_PART)


async def _file_input(upload: UploadFile, metadata: dict[str, Any]) -> FileInput:
    media_type = upload.content_type if upload.content_type != "application/octet-stream" else None
    return FileInput(upload.filename, await upload.read(), media_type=media_type, metadata=metadata)


def _download(original: OriginalFile) -> Response[bytes]:
    """Answer with a stranger's bytes: as an attachment, so that the browser never runs them as a page of
    ours.
    """
    filename = original.filename or f"{original.document_id}.txt"
    disposition = f"attachment; filename*=UTF-8''{quote(Path(filename).name, safe='')}"
    return Response(
        original.data, media_type=original.media_type, headers={"Content-Disposition": disposition}
    )


class DocumentController(Controller):
    """Add, list, read and delete the documents of a collection."""

    path = "/collections/{name:str}"
    tags = ("Documents",)
    dependencies = {"external_id": Provide(provide_external_id, sync_to_thread=False)}  # noqa: RUF012

    @post(
        "/documents",
        scope=Scope.WRITE,
        status_code=200,
        summary="Add documents",
        responses=problem_responses(404, 413, 415),
    )
    async def add_documents(
        self,
        name: CollectionName,
        data: JSONBody[DocumentBatch],
        resources: NamedDependency[Resources],
        keyed: NamedDependency[Keyed],
    ) -> BatchReply:
        """Add or replace documents given as text. They are searchable when this answers; each has its own
        status.
        """
        inputs = [document.to_input() for document in data.documents]
        receipt = keyed.receipt(200, BatchReply.of)
        return BatchReply.of(await resources.documents.add(name, inputs, receipt))

    @post(
        "/files",
        scope=Scope.WRITE,
        status_code=200,
        summary="Add files",
        guards=[require_form],
        responses=problem_responses(404, 413, 415),
    )
    async def add_files(
        self,
        name: CollectionName,
        data: MultipartBody[FileForm],
        resources: NamedDependency[Resources],
        keyed: NamedDependency[Keyed],
    ) -> BatchReply:
        """Add or replace files; the filename is the id. One bad file fails alone with its reason."""
        metadata = decode_form_json("metadata", data.metadata, dict[str, Any]) if data.metadata else {}
        files = [await _file_input(upload, metadata) for upload in data.file]
        receipt = keyed.receipt(200, BatchReply.of)
        return BatchReply.of(await resources.documents.add_files(name, files, receipt))

    @get("/documents", summary="List the documents", responses=problem_responses(404))
    async def list_documents(
        self,
        name: CollectionName,
        resources: NamedDependency[Resources],
        limit: Limit = 100,
        after: After = None,
    ) -> DocumentList:
        """One page of documents, by id."""
        page = await resources.documents.list(name, limit, after)
        return msgspec.convert(page, DocumentList, from_attributes=True)

    @get("/documents/{document_id:path}", summary="Show a document", responses=problem_responses(404))
    async def get_document(
        self, name: CollectionName, external_id: NamedDependency[str], resources: NamedDependency[Resources]
    ) -> DocumentReply:
        """One document as it stands now, without its text."""
        return msgspec.convert(
            await resources.documents.get(name, external_id), DocumentReply, from_attributes=True
        )

    @delete(
        "/documents/{document_id:path}",
        scope=Scope.WRITE,
        summary="Delete a document",
        responses=problem_responses(404),
    )
    async def delete_document(
        self,
        name: CollectionName,
        external_id: NamedDependency[str],
        resources: NamedDependency[Resources],
        keyed: NamedDependency[Keyed],
    ) -> None:
        """Delete one document. No search finds it once this has answered."""
        await resources.documents.delete(name, external_id, keyed.receipt_without_body())

    @post(
        "/delete",
        scope=Scope.WRITE,
        status_code=200,
        summary="Delete documents by ids or filter",
        responses=problem_responses(404, 415),
    )
    async def delete_documents(
        self,
        name: CollectionName,
        data: JSONBody[Deletion],
        resources: NamedDependency[Resources],
        keyed: NamedDependency[Keyed],
    ) -> DeletionReply:
        """Delete the documents with these ids, or all that the filter takes."""
        receipt = keyed.receipt(200, DeletionReply)
        deleted = await resources.documents.delete_where(
            name, ids=data.ids, filter=data.filter, receipt=receipt
        )
        return DeletionReply(deleted)

    @get("/text/{document_id:path}", summary="Read the stored text", responses=problem_responses(404))
    async def get_text(  # one for each parameter of the route
        self,
        name: CollectionName,
        external_id: NamedDependency[str],
        resources: NamedDependency[Resources],
        version: WantedVersion = None,
        start: FirstCodePoint = None,
        end: EndCodePoint = None,
    ) -> TextReply:
        """The text of a version, or text[start:end] of it in code points."""
        text = await resources.documents.text(name, external_id, version, start, end)
        return msgspec.convert(text, TextReply, from_attributes=True)

    @get(
        "/originals/{document_id:path}",
        summary="Get the original file",
        media_type="application/octet-stream",
        responses={200: _ANY_FILE, **problem_responses(404)},
    )
    async def get_original(
        self,
        name: CollectionName,
        external_id: NamedDependency[str],
        resources: NamedDependency[Resources],
        version: WantedVersion = None,
    ) -> Response[bytes]:
        """The bytes that were sent for a version, with their media type."""
        return _download(await resources.documents.original(name, external_id, version))
