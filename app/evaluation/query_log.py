"""The query log as data for evaluations: questions as people asked them, judged by their feedback.

    FOLDER/corpus.jsonl      the documents of the collection, in their current version
    FOLDER/queries.jsonl     the questions that have a judgement
    FOLDER/qrels/test.tsv    grades: 2 for thumbs up and accepted answers, 1 for a click, 0 for thumbs down

This is the form of BEIR, which `footnote eval retrieval --data FOLDER` measures.
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from anyio import to_thread
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.collections import find_collection
from app.db.engine import Database
from app.db.feedback import list_feedback
from app.db.marks import standing
from app.db.models import Document, DocumentVersion
from app.db.query_log import LoggedQuery, read_queries
from app.services.feedback_types import FeedbackKind
from embeddings.errors import InvalidInput

_GRADES = {
    FeedbackKind.ACCEPTED: 2,
    FeedbackKind.THUMBS_UP: 2,
    FeedbackKind.CLICK: 1,
    FeedbackKind.THUMBS_DOWN: 0,
}
_PAGE = 1000
_DOCUMENTS = 64

Grades = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class WrittenTask:
    """What was written. unjudged: questions of the log that nobody's feedback is about."""

    documents: int
    queries: int
    judgements: int
    unjudged: int


def as_line(logged: LoggedQuery) -> str:
    """One question as a line of JSON; `_id` and `text` are what `queries.jsonl` of BEIR has."""
    told = {name: getattr(logged, name) for name in LoggedQuery.__dataclass_fields__}
    asked_at = told.pop("asked_at").isoformat(timespec="seconds")
    fields = {"_id": f"q{told.pop('id')}", "text": told.pop("question"), "asked_at": asked_at, **told}
    return json.dumps(fields, ensure_ascii=False)


async def export_lines(database: Database, collection: str | None) -> AsyncIterator[str]:
    """A line for each question of the log, the oldest first. Raises NotFound for the collection."""
    async with database.read() as connection:
        chosen = None if collection is None else (await find_collection(connection, collection)).id
        async for logged in read_queries(connection, chosen):
            yield as_line(logged)


async def write_task(database: Database, collection: str, folder: Path) -> WrittenTask:
    """Make an evaluation of the log of a collection and of its feedback.

    Raises NotFound for the collection; InvalidInput for a folder that is there already and not empty, and
    when no question of the log has a judgement.
    """
    await to_thread.run_sync(_make_empty, folder)
    async with database.read() as connection:
        collection_id = (await find_collection(connection, collection)).id
        asked = {each.question async for each in read_queries(connection, collection_id) if each.question}
        grades = await _grades(connection, collection_id)
        judged = {question: grades[question] for question in sorted(asked & grades.keys())}
        if not judged:
            raise _nothing_judged(collection, len(asked))
        await to_thread.run_sync(_write_queries, folder, judged)
        documents = await _write_corpus(connection, collection_id, folder)
    judgements = sum(map(len, judged.values()))
    return WrittenTask(documents, len(judged), judgements, len(asked) - len(judged))


async def _grades(connection: AsyncConnection, collection_id: int) -> Grades:
    """Grades of documents by the question. A thumbs down holds against clicks, anything better against it."""
    grades: dict[str, dict[str, int]] = {}
    after = 0
    while page := await list_feedback(connection, collection_id, _PAGE, after):
        for each in page:
            known = grades.setdefault(each.query, {})
            given = {_GRADES[each.kind], known.get(each.document_id, _GRADES[each.kind])}
            known[each.document_id] = 0 if given == {0, 1} else max(given)
        after = page[-1].id
    return grades


def _write_queries(folder: Path, judged: Grades) -> None:
    numbered = {f"q{number}": question for number, question in enumerate(judged, start=1)}
    _write_lines(folder / "queries.jsonl", ({"_id": key, "text": text} for key, text in numbered.items()))
    (folder / "qrels").mkdir()
    with (folder / "qrels" / "test.tsv").open("w", encoding="utf-8") as file:
        file.write("query-id\tcorpus-id\tscore\n")
        for key, question in numbered.items():
            file.writelines(f"{key}\t{document}\t{grade}\n" for document, grade in judged[question].items())


async def _write_corpus(connection: AsyncConnection, collection_id: int, folder: Path) -> int:
    """The documents that stand, in their current version; returns how many."""
    current = and_(DocumentVersion.document_id == Document.id, DocumentVersion.version == Document.version)
    columns = select(Document.id, Document.external_id, Document.title, DocumentVersion.text)
    own = columns.join(DocumentVersion, current).where(Document.collection_id == collection_id, standing())
    after = count = 0
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        while True:
            paged = own.where(Document.id > after).order_by(Document.id).limit(_DOCUMENTS)
            rows = (await connection.execute(paged)).all()
            if not rows:
                return count
            lines = [{"_id": row.external_id, "title": row.title or "", "text": row.text} for row in rows]
            await to_thread.run_sync(_write_to, file, lines)
            after, count = rows[-1].id, count + len(rows)


def _write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        _write_to(file, lines)


def _write_to(file: IO[str], lines: Iterable[Mapping[str, Any]]) -> None:
    file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _make_empty(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir(parents=True)
    if not folder.is_dir() or any(folder.iterdir()):
        raise InvalidInput(
            f"{folder} is there already",
            field="--evaluation",
            found="a folder that is not empty" if folder.is_dir() else "a file",
            expected="a folder that is empty or not there yet",
            next_step="name another folder",
        )


def _nothing_judged(collection: str, asked: int) -> InvalidInput:
    return InvalidInput(
        f"nobody's feedback is about a question in the query log of {collection!r}",
        field="collection",
        found=f"{asked} different questions with their words, none with feedback",
        expected="at least one question that people gave feedback on",
        next_step="set FOOTNOTE_QUERY_LOG=full and collect feedback; `footnote feedback list` shows it",
    )
