"""Footnote's service as its API page shows it: batches of JSON documents, searchable when the reply comes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plain_server import Line, line_to

LIMIT = 10


class Users:
    """given: host, port, key and the name of a collection that is there."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._line: Line = line_to(given)
        self._route = f"/v1/collections/{given['collection']}"

    def ingest(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        documents = [{"id": id_, "text": text} for id_, text in zip(ids, texts, strict=True)]
        reply = self._line.post(f"{self._route}/documents", {"documents": documents})
        if reply["errors"]:
            raise RuntimeError(f"a document was not taken: {str(reply)[:300]}")

    def finish(self) -> None:
        """Nothing is left to do."""

    def vectors(self) -> int:
        return int(self._line.get(self._route)["chunks"])

    def connect(self, mode: str) -> Callable[[str], list[str]]:
        line = line_to(self._given)

        def search(query: str) -> list[str]:
            body = {"query": query, "mode": mode, "limit": LIMIT}
            return [hit["document_id"] for hit in line.post(f"{self._route}/search", body)["hits"]]

        return search
