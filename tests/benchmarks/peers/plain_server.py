"""A server that is asked by HTTP with JSON and needs no client of its own: one kept-alive connection."""

import http.client
import json
from collections.abc import Mapping
from typing import Any

TIMEOUT_S = 600.0
PROBLEM_CHARS = 300


class Refused(Exception):
    """A reply with another status than 2xx; the message holds its beginning."""


class Line:
    """A connection for one thread. key: bearer token, "" for none."""

    def __init__(self, host: str, port: int, key: str = "") -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"

    def get(self, path: str) -> Any:
        """Raises Refused."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: object) -> Any:
        """Raises Refused."""
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, content: bytes | None) -> Any:
        self._connection.request(method, path, content, self._headers)
        reply = self._connection.getresponse()
        found = reply.read()
        if not 200 <= reply.status < 300:
            raise Refused(f"{method} {path}: {reply.status} {found[:PROBLEM_CHARS]!r}")
        return json.loads(found) if found else None


def line_to(given: Mapping[str, Any]) -> Line:
    """A connection to the server that the benchmark tells of: host, port and perhaps a key."""
    return Line(given["host"], given["port"], given.get("key", ""))
