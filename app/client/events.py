"""Server-sent events, from lines to what they tell."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from app.client.failures import problem_failure
from app.client.job_replies import Job
from app.client.replies import Answer, AnswerEvent, Citation, Delta, Found, Problem

_ANSWER_EVENTS: dict[str, type[AnswerEvent]] = {
    "search_results": Found,
    "message": Delta,
    "citation": Citation,
    "final_answer": Answer,
}


@dataclass(slots=True)
class EventLines:
    """The lines of one event until its empty line. Comments, which keep connections alive, are dropped."""

    name: str = "message"
    data: list[str] = field(default_factory=list)

    def add(self, line: str) -> Iterator[tuple[str, bytes]]:
        """Yield the event that this line ends, as its name and its data; most lines end none."""
        if line:
            key, _, value = line.partition(":")
            self._take(key, value.removeprefix(" "))
        elif self.data:
            yield self.name, "\n".join(self.data).encode()
            self.name, self.data = "message", []

    def _take(self, key: str, value: str) -> None:
        if key == "event":
            self.name = value
        elif key == "data":
            self.data.append(value)


def read_answer_event(name: str, data: bytes) -> AnswerEvent | None:
    """What an event of an answer tells; None for kinds that this client does not know. Raises its failure."""
    raise_failure(name, data)
    kind = _ANSWER_EVENTS.get(name)
    return None if kind is None else msgspec.json.decode(data, type=kind)


def read_job_event(name: str, data: bytes) -> Job | None:
    """The job in an event of a job; None for kinds that this client does not know. Raises its failure."""
    raise_failure(name, data)
    return msgspec.json.decode(data, type=Job) if name in ("progress", "end") else None


def raise_failure(name: str, data: bytes) -> None:
    """Raise what went wrong after the status line was sent."""
    if name == "error":
        raise problem_failure(msgspec.json.decode(data, type=Problem))
