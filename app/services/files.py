"""Files into drafts: one for most files, one for each record of those that hold records.

Pure and slow, up to seconds for a file: run it in a thread.
"""

from collections.abc import Iterator, Sequence

from app.services.drafts import Draft, Rejected, check_size, draft_text, reject_duplicates
from app.services.metadata import MAX_TITLE_CHARS, check_id, check_metadata
from app.services.types import DocumentInput, FileInput
from app.settings import Settings
from embeddings.errors import FootnoteError
from embeddings.stages import stage
from retrieval.extraction import extract
from retrieval.records import BadRecord, Record, has_records, split_records


def draft_files(files: Sequence[FileInput], settings: Settings) -> list[Draft | Rejected]:
    """Read files; one answer for each file, or for each of its records, in their order."""
    drafts = [draft for file in files for draft in _draft_file(file, settings)]
    return reject_duplicates(drafts, [d.external_id if isinstance(d, Draft) else d.id for d in drafts])


def _draft_file(file: FileInput, settings: Settings) -> Iterator[Draft | Rejected]:
    name = file.filename if file.id is None else file.id
    try:
        check_id(name)
        metadata = check_metadata(file.metadata)
        if has_records(file.data, file.filename):
            records = split_records(file.data, file.filename)
            yield from (_draft_record(record, name, metadata, settings) for record in records)
        else:
            yield _draft_whole(file, name, metadata, settings)
    except FootnoteError as error:
        yield Rejected(name, error)


def _draft_whole(file: FileInput, name: str, metadata: dict[str, object], settings: Settings) -> Draft:
    with stage("extract"):
        extracted = extract(
            file.data,
            file.filename,
            file.media_type,
            max_bytes=settings.max_file_bytes,
            max_text_chars=settings.max_text_bytes,
        )
    check_size(extracted.text, settings.max_text_bytes)
    # The title was found, not given: one that is too long is no reason to refuse the file.
    title = extracted.title[:MAX_TITLE_CHARS] if extracted.title else None
    return Draft(name, title, metadata, extracted, file.filename, file.data)


def _draft_record(
    record: Record | BadRecord, name: str, metadata: dict[str, object], settings: Settings
) -> Draft | Rejected:
    """A record without an id is known by its line, so that a corrected file replaces what it corrects."""
    line_id = f"{name}#{record.line}"
    if isinstance(record, BadRecord):
        return Rejected(line_id, record.error)
    document_id = line_id if record.id is None else record.id
    item = DocumentInput(record.text, document_id, record.title, {**metadata, **record.metadata})
    return draft_text(item, settings.max_text_bytes)
