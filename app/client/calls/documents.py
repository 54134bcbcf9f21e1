"""Documents: add, list, read and delete them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from app.client.call import Call, File, Form, given, segment
from app.client.calls.collections import collection_path
from app.client.job_replies import Job
from app.client.replies import Batch, Deleted, Document, Documents, Text

AnyFile = str | Path | File


class NewDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """A document given as text. id: made from the content when left out; media_type: text/plain or
    text/markdown, whose headings lead the chunks.
    """

    text: str
    id: str | None = None
    title: str | None = None
    metadata: Mapping[str, Any] | None = None
    media_type: str | None = None


def add_documents(collection: str, documents: Sequence[NewDocument | Mapping[str, Any] | str]) -> Call[Batch]:
    """Add or replace documents; they are searchable when this returns.

    documents: texts, NewDocument, or mappings with its fields. One that fails has its reason in the reply,
    and the others are stored: look at `errors`.
    """
    body = {"documents": [{"text": each} if isinstance(each, str) else each for each in documents]}
    return Call("POST", collection_path(collection, "/documents"), Batch, body=body, keyed=True)


def add_files(
    collection: str, files: Iterable[AnyFile], metadata: Mapping[str, Any] | None = None
) -> Call[Batch]:
    """Add or replace files; they are searchable when this returns. A file's name is the document's id.

    metadata: added to each document. For many or large files `ingest_files` is better.
    """
    form = _form(files, metadata)
    return Call("POST", collection_path(collection, "/files"), Batch, form=form, keyed=True)


def ingest_files(
    collection: str, files: Iterable[AnyFile], metadata: Mapping[str, Any] | None = None
) -> Call[Job]:
    """Hand files over to a job: they are safe on the service's disk when this returns, and become searchable
    one by one. `wait_for_job` waits for the end.
    """
    form = _form(files, metadata)
    return Call("POST", collection_path(collection, "/jobs/ingest"), Job, form=form)


def list_documents(collection: str, *, limit: int | None = None, after: str | None = None) -> Call[Documents]:
    """One page of documents by id. after: `next` of the page before."""
    query = {"limit": limit, "after": after}
    return Call("GET", collection_path(collection, "/documents"), Documents, query)


def get_document(collection: str, document_id: str) -> Call[Document]:
    """One document as it stands now, without its text."""
    return Call("GET", _path(collection, "documents", document_id), Document)


def delete_document(collection: str, document_id: str) -> Call[None]:
    """Delete one document. No search finds it afterwards."""
    return Call("DELETE", _path(collection, "documents", document_id), type(None), keyed=True)


def delete_documents(
    collection: str,
    *,
    ids: Sequence[str] | None = None,
    filter: Mapping[str, Any] | None = None,  # noqa: A002
) -> Call[Deleted]:
    """Delete the documents with these ids, or all that the filter takes; exactly one of the two."""
    body = given(ids=ids, filter=filter)
    return Call("POST", collection_path(collection, "/delete"), Deleted, body=body, keyed=True)


def get_text(
    collection: str,
    document_id: str,
    *,
    version: int | None = None,
    start: int | None = None,
    end: int | None = None,
) -> Call[Text]:
    """The stored text of a version, or text[start:end] of it in code points."""
    query = {"version": version, "start": start, "end": end}
    return Call("GET", _path(collection, "text", document_id), Text, query)


def get_original(collection: str, document_id: str, *, version: int | None = None) -> Call[bytes]:
    """The bytes that were sent for a version."""
    path = _path(collection, "originals", document_id)
    return Call("GET", path, bytes, {"version": version}, accept="*/*")


def _path(collection: str, what: str, document_id: str) -> str:
    return collection_path(collection, f"/{what}/{segment(document_id)}")


def _form(files: Iterable[AnyFile], metadata: Mapping[str, Any] | None) -> Form:
    fields = {} if metadata is None else {"metadata": msgspec.json.encode(metadata).decode()}
    return Form([file if isinstance(file, File) else File.at(file) for file in files], fields)
