"""What a request asked and used, noted by the services for whoever observes the request.

The notes belong to the context of one request, so a service says what it did and needs to know nothing of
requests. Work that nobody observes, such as a command's or a job's, notes nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from app.services.types import AnswerInput, AnswerOutput, Hit, SearchInput, SearchOutput

AskedKind = Literal["search", "answer"]


@dataclass(slots=True)
class Asked:
    """A question to a collection and what became of it.

    question: as it was searched. filter: the JSON object of the filter language. release: None until the
    search is done. status: of an answer that came to its end. took_ms: of the search, or of the whole answer.
    """

    kind: AskedKind
    collection: str
    question: str
    mode: str
    filter: object | None
    release: int | None = None
    hits: tuple[Hit, ...] = ()
    status: str | None = None
    took_ms: float = 0.0

    def found(self, output: SearchOutput) -> None:
        """Note what was found for it."""
        self.question, self.hits, self.release = output.query, output.hits, output.release
        self.took_ms = output.took_ms


@dataclass(slots=True)
class Notes:
    """Of one request. tokens: of decoders; cached_tokens: of the prompts', those that needed no prefill."""

    asked: list[Asked] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


_notes: ContextVar[Notes | None] = ContextVar("footnote_notes", default=None)


@contextmanager
def noting() -> Iterator[Notes]:
    """Collect what is noted in this context, until the block ends."""
    notes = Notes()
    token = _notes.set(notes)
    try:
        yield notes
    finally:
        _notes.reset(token)


def note_search(collection: str, wanted: SearchInput, output: SearchOutput) -> None:
    """A search is done: one of its own, or that of the answer that was begun last."""
    notes = _notes.get()
    if notes is None:
        return
    last = notes.asked[-1] if notes.asked else None
    if last is None or last.kind == "search" or last.release is not None or last.collection != collection:
        last = Asked("search", collection, wanted.query, wanted.mode, wanted.filter)
        notes.asked.append(last)
    last.found(output)


def note_question(collection: str, wanted: AnswerInput) -> Asked | None:
    """An answer is begun; the note of it, for `note_answer`. None where nobody observes."""
    notes = _notes.get()
    if notes is None:
        return None
    asked = Asked("answer", collection, wanted.question, wanted.mode, wanted.filter)
    notes.asked.append(asked)
    return asked


def note_answer(asked: Asked | None, output: AnswerOutput) -> None:
    """An answer has come to its end."""
    if asked is not None:
        asked.status, asked.took_ms = output.answer.status, output.took_ms
        note_tokens(output.answer.prompt_tokens, output.answer.tokens)


def note_tokens(prompt: int, completion: int, cached: int = 0) -> None:
    """A decoder has read and written these tokens."""
    notes = _notes.get()
    if notes is not None:
        notes.prompt_tokens += prompt
        notes.completion_tokens += completion
        notes.cached_tokens += cached
