"""txtai's API as its documentation shows it: batches to `add`, then `index`; the service encodes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from plain_server import Line, line_to

LIMIT = 10


class Users:
    """given: host and port."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._line: Line = line_to(given)

    def ingest(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        self._line.post("/add", [{"id": id_, "text": text} for id_, text in zip(ids, texts, strict=True)])

    def finish(self) -> None:
        """Encode and index what was added."""
        self._line.get("/index")

    def vectors(self) -> int:
        return int(self._line.get("/count"))

    def connect(self, mode: str) -> Callable[[str], list[str]]:
        if mode != "dense":
            raise ValueError(f"this index has no {mode} search")
        line = line_to(self._given)

        def search(query: str) -> list[str]:
            found = line.get(f"/search?{urlencode({'query': query, 'limit': LIMIT})}")
            return [str(each["id"]) for each in found]

        return search
