"""How long it takes until the deletion of very many documents is acknowledged.

    python -m tests.benchmarks.mass_deletes --folder FOLDER --documents 1000000

The rows are made by SQL: small documents of one chunk each, with a vector of 384 dimensions.
"""

import asyncio
import json
import sqlite3
import time
from argparse import ArgumentParser
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from app.resources import Models, Resources, open_resources
from app.settings import Settings
from generation.answering import Answerer
from tests.app.hashing_encoder import HashingEncoder, write_word_tokenizer

_NUMBERS = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :documents)"
# ruff: noqa: S608  nothing here comes from outside
_STATEMENTS = (
    f"""{_NUMBERS} INSERT INTO documents (id, collection_id, external_id, version, fingerprint, seq,
        chunk_count, title, meta, created_at, updated_at)
        SELECT n, :collection, 'document-' || n, 1, hex(zeroblob(32)), n, 1, 'Title ' || n,
        '{{"parity": "' || iif(n % 2, 'odd', 'even') || '", "n": ' || n || '}}', :now, :now FROM numbers""",
    f"""{_NUMBERS} INSERT INTO document_versions (document_id, version, media_type, length, content_hash,
        original_hash, created_at, text)
        SELECT n, 1, 'text/plain', 5, hex(zeroblob(32)), hex(zeroblob(32)), :now, 'Hello' FROM numbers""",
    f"""{_NUMBERS} INSERT INTO chunks (id, document_id, chunking, ordinal, start, "end", heading_path)
        SELECT n, n, 'tokens-200-30', 0, 0, 5, '[]' FROM numbers""",
    f"{_NUMBERS} INSERT INTO vectors SELECT n, 'none', zeroblob(768) FROM numbers",
    "UPDATE collections SET last_seq = :documents WHERE id = :collection",
)


def _fill(path: Path, collection: int, documents: int) -> None:
    values = {"collection": collection, "documents": documents, "now": "2026-01-01 00:00:00.000000"}
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in _STATEMENTS:
            connection.execute(statement, values)


async def _seconds(work: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await work()
    return round(time.perf_counter() - started, 3)


async def _measure(folder: Path, documents: int, what: str) -> dict[str, object]:
    models = Models(HashingEncoder(), write_word_tokenizer(folder), Answerer(None, refuse_below=0.0))
    async with open_resources(Settings(home=folder / what, threads=1), models) as resources:
        await resources.collections.create("notes")
        await asyncio.to_thread(_fill, resources.settings.home / "footnote.db", 1, documents)
        delete = _deletions(resources, documents)[what]
        figures: dict[str, object] = {"delete": what, "documents": documents}
        figures["acknowledged_after_s"] = await _seconds(delete)
        steps = asyncio.create_task(resources.reclaimer.finish())
        figures["list_beside_s"] = await _seconds(resources.collections.list)
        await asyncio.sleep(10)
        steps.cancel()
        await asyncio.gather(steps, return_exceptions=True)
        figures["rows_removed_a_second"] = round((documents - _rows(resources)) / 10)
        return figures


def _deletions(resources: Resources, documents: int) -> dict[str, Callable[[], Awaitable[object]]]:
    ids = [f"document-{number}" for number in range(1, documents + 1)]
    return {
        "collection": lambda: resources.collections.delete("notes"),
        "filter-all": lambda: resources.documents.delete_where("notes", filter={"n": {"$gte": 1}}),
        "filter-half": lambda: resources.documents.delete_where("notes", filter={"parity": "even"}),
        "ids": lambda: resources.documents.delete_where("notes", ids=ids),
    }


def _rows(resources: Resources) -> int:
    with closing(sqlite3.connect(resources.settings.home / "footnote.db")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM documents").fetchone()
        return int(count)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--what", nargs="+", default=["collection", "filter-half", "filter-all", "ids"])
    arguments = parser.parse_args()
    for what in arguments.what:
        with TemporaryDirectory(dir=arguments.folder) as scratch:
            print(json.dumps(asyncio.run(_measure(Path(scratch), arguments.documents, what))), flush=True)


if __name__ == "__main__":
    main()
