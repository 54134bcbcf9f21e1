"""Retrieval quality on a folder in BEIR form: encode, index, rank, measure.

    corpus.jsonl[.gz]    {"_id", "title", "text"} a line
    queries.jsonl[.gz]   {"_id", "text"} a line
    qrels/{split}.tsv    query-id, corpus-id, score, with one header line

Every document is one chunk, title and text, cut off at the encoder's length: figures compare with published
ones.
"""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embeddings.encoder import Encoder
from embeddings.errors import InvalidInput, NotFound
from retrieval.index import CollectionIndex, SearchRequest
from retrieval.metrics import Interval, evaluate_rankings
from retrieval.types import IndexedChunk, SearchMode

SPLITS = ("test", "dev")  # the first that the folder has
RANKING_DEPTH = 100
BATCH_DOCUMENTS = 1_024

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """Documents to find, questions, and which documents are right: by their ids.

    qrels: query id -> document id -> grade; only queries of the split, each with its text in `queries`.
    """

    split: str
    documents: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class RetrievalReport:
    """What was ranked and how good it was. run: query id -> document ids, best first."""

    split: str
    mode: SearchMode
    model_id: str
    documents: int
    queries: int
    metrics: dict[str, Interval]
    run: dict[str, list[str]]


def measure_retrieval(
    folder: Path,
    encoder: Encoder,
    mode: SearchMode = SearchMode.HYBRID,
    split: str | None = None,
    progress: Progress = lambda _what, _done, _total: None,
) -> RetrievalReport:
    """Rank the judged queries of a folder and measure the rankings.

    split: test, dev or train; None: test if there is one, else dev.
    progress: called with what is done, how many, and of how many.
    Raises NotFound for a missing file, InvalidInput for a broken one, FootnoteError without the extra `eval`.
    """
    task = load_task(folder, split)
    run = rank_task(task, encoder, mode, progress)
    metrics = evaluate_rankings(task.qrels, run)
    return RetrievalReport(
        task.split, mode, encoder.model_id, len(task.documents), len(task.queries), metrics, run
    )


def load_task(folder: Path, split: str | None = None) -> RetrievalTask:
    """Read a folder in BEIR form. Queries without a relevant document are left out."""
    chosen = split or next((name for name in SPLITS if _qrels_path(folder, name).is_file()), SPLITS[0])
    qrels = _read_qrels(_qrels_path(folder, chosen))
    documents = {row["_id"]: _document_text(row) for row in _read_rows(folder, "corpus")}
    texts = {row["_id"]: row["text"] for row in _read_rows(folder, "queries")}
    if missing := qrels.keys() - texts.keys():
        raise _broken(
            folder, f"{len(missing)} judged queries without text, such as {min(missing)!r}", "a text for each"
        )
    return RetrievalTask(chosen, documents, {query: texts[query] for query in qrels}, qrels)


def rank_task(
    task: RetrievalTask, encoder: Encoder, mode: SearchMode, progress: Progress
) -> dict[str, list[str]]:
    """The best RANKING_DEPTH documents for each query, through the index that serves searches."""
    ids = list(task.documents)
    index = _build_index(list(task.documents.values()), encoder, mode, progress)
    run = {}
    for done, (query_id, query) in enumerate(task.queries.items(), start=1):
        request = _request(query, encoder, mode)
        run[query_id] = [ids[chunk.chunk_id] for chunk in index.search(request).chunks]
        progress("queries", done, len(task.queries))
    return run


def _request(query: str, encoder: Encoder, mode: SearchMode) -> SearchRequest:
    # One query at a time, as the service does: int8 vectors depend a little on what else is in their batch.
    lexical = mode == SearchMode.LEXICAL
    vector = None if lexical else encoder.encode([query], "query")[0]
    coverage = encoder.vocabulary_coverage(query)
    return SearchRequest(query, vector, mode, limit=RANKING_DEPTH, coverage=coverage)


def _build_index(
    texts: Sequence[str], encoder: Encoder, mode: SearchMode, progress: Progress
) -> CollectionIndex:
    index = CollectionIndex(encoder.dimension)
    for start in range(0, len(texts), BATCH_DOCUMENTS):
        batch = texts[start : start + BATCH_DOCUMENTS]
        if mode == SearchMode.LEXICAL:
            vectors = np.zeros((len(batch), encoder.dimension), np.float16)
        else:
            vectors = encoder.encode(batch, "passage").astype(np.float16)
        numbered = enumerate(zip(batch, vectors, strict=True), start=start)
        chunks = [IndexedChunk(i, i, text, vector, {}) for i, (text, vector) in numbered]
        index.apply(chunks, (), start + len(batch))
        progress("documents", start + len(batch), len(texts))
    return index


def _document_text(row: dict[str, Any]) -> str:
    return f"{row.get('title') or ''}\n{row['text']}".strip()


def _qrels_path(folder: Path, split: str) -> Path:
    return folder / "qrels" / f"{split}.tsv"


def _read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Query id -> document id -> grade, of the queries that have a relevant document."""
    if not path.is_file():
        raise _missing(path, "judgements, query-id<TAB>corpus-id<TAB>score a line under one header line")
    qrels: dict[str, dict[str, int]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()[1:], start=2):
        try:
            query_id, document_id, score = line.split("\t")
            qrels.setdefault(query_id, {})[document_id] = int(score)
        except ValueError:
            raise _broken(path, f"line {number}: {line[:80]!r}", "query-id<TAB>corpus-id<TAB>score") from None
    return {query_id: grades for query_id, grades in qrels.items() if max(grades.values()) > 0}


def _read_rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    path = next((p for p in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz") if p.is_file()), None)
    if path is None:
        raise _missing(folder / f"{name}.jsonl.gz", "corpus.jsonl.gz, queries.jsonl.gz, qrels/{split}.tsv")
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as lines
        ):
            for number, line in enumerate(lines, start=1):
                yield _parse_row(line, path, number)
    except (gzip.BadGzipFile, EOFError, UnicodeDecodeError) as error:
        raise _broken(path, str(error), "JSON lines in UTF-8") from error


def _parse_row(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        row = None
    if isinstance(row, dict) and isinstance(row.get("_id"), str) and isinstance(row.get("text"), str):
        return row
    raise _broken(path, f"line {number}: {line[:80]!r}", 'an object with strings "_id" and "text"')


def _missing(path: Path, expected: str) -> NotFound:
    return NotFound(
        f"no file {path}",
        field="data",
        found="no such file",
        expected=expected,
        next_step="give the folder that holds corpus, queries and qrels",
    )


def _broken(path: Path, found: str, expected: str) -> InvalidInput:
    return InvalidInput(
        f"{path}: found {found}; expected {expected}", field="data", found=found, expected=expected
    )
