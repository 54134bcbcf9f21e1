"""A question as its address holds it, so that a page can be reloaded, kept and sent to somebody."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from litestar.datastructures import MultiDict

from app.pages.conditions import FieldCondition, conditions_of, filter_of
from app.services.types import AnswerInput, SearchInput
from embeddings.errors import InvalidInput
from generation.causal.chat import ChatMessage
from retrieval.types import SearchMode

HITS = 10
SEARCH_ONLY = "search"
MAX_TURNS = 4  # that an address carries along; it has to stay short


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, of which collection, and how.

    collection: None where nothing was chosen. search_only: passages without an answer. rerank: by the
    installed reranker. conditions: of the filter. offset: hits of a search to pass over. plain: for a browser
    without scripts, the whole answer in the page. turns: questions and answers that came before, the oldest
    first; conversation: the number of a kept one that has them instead.
    """

    text: str = ""
    collection: str | None = None
    mode: SearchMode = SearchMode.HYBRID
    search_only: bool = False
    rerank: bool = False
    conditions: tuple[FieldCondition, ...] = ()
    offset: int = 0
    plain: bool = False
    turns: tuple[tuple[str, str], ...] = ()
    conversation: int | None = None

    @classmethod
    def of(cls, query: MultiDict[str]) -> "Question":
        """The question in an address. Raises InvalidInput for a value that the forms do not send."""
        rows = zip(*(_texts(query, name) for name in ("fk", "fo", "fv")), strict=False)
        turns = zip(_texts(query, "hq"), _texts(query, "ha"), strict=False)
        return cls(
            text=query.get("q", "").strip(),
            collection=query.get("c") or None,
            mode=_mode(query.get("m") or SearchMode.HYBRID),
            search_only=query.get("w") == SEARCH_ONLY,
            rerank=query.get("r") == "1",
            conditions=conditions_of(rows),
            offset=_number("o", query.get("o") or "0"),
            turns=tuple(turns)[-MAX_TURNS:],
            conversation=_number("t", query["t"]) if query.get("t") else None,
            plain=query.get("plain") == "1",
        )

    @property
    def query(self) -> str:
        """The address's query, without what is as usual."""
        return urlencode([("q", self.text), *self.fields()])

    def fields(self) -> list[tuple[str, str]]:
        """What the address says beside the question's text."""
        pairs = [("c", self.collection or "")]
        pairs += [("m", self.mode.value)] * (self.mode is not SearchMode.HYBRID)
        pairs += [("w", SEARCH_ONLY)] * self.search_only + [("r", "1")] * self.rerank
        for row in self.conditions:
            pairs += [("fk", row.field), ("fo", row.comparison), ("fv", row.value)]
        for asked, answered in self.turns:
            pairs += [("hq", asked), ("ha", answered)]
        pairs += [] if self.conversation is None else [("t", str(self.conversation))]
        return pairs + [("o", str(self.offset))] * bool(self.offset)

    def followed(self, understood: str, answer: str, conversation: int | None) -> "Question":
        """What a next question builds on, without its text. understood: the question that was searched;
        conversation: of the one that keeps it, if one does.
        """
        if conversation is not None:
            return replace(self, text="", turns=(), conversation=conversation)
        return replace(self, text="", turns=(*self.turns, (understood, answer))[-MAX_TURNS:])

    def changed(self, **fields: Any) -> "Question":
        """The same with other fields."""
        return replace(self, **fields)

    def to_answer_input(self) -> AnswerInput:
        """The same for the answer service."""
        said = [message for turn in self.turns for message in _messages(*turn)]
        return AnswerInput(
            self.text, filter=self._filter(), mode=self.mode, rerank=self.rerank, history=tuple(said)
        )

    def to_search_input(self) -> SearchInput:
        """The same for the search service: one page of hits."""
        return SearchInput(
            self.text, self.mode, HITS, self.offset, self._filter(), merge_neighbours=True, rerank=self.rerank
        )

    def _filter(self) -> Mapping[str, Any] | None:
        return filter_of(self.conditions)


def _mode(value: str) -> SearchMode:
    if value not in list(SearchMode):
        expected = "one of " + ", ".join(SearchMode)
        raise InvalidInput(f"{value!r} is no way to search", field="m", found=value, expected=expected)
    return SearchMode(value)


def _texts(query: MultiDict[str], name: str) -> list[str]:
    return [str(value) for value in query.getall(name, [])]


def _messages(asked: str, answered: str) -> list[ChatMessage]:
    return [ChatMessage("user", asked), ChatMessage("assistant", answered)]


def _number(field: str, value: str) -> int:
    if not value.isdecimal() or len(value) > 12:
        found = repr(value[:20])
        raise InvalidInput(f"{field} is {found}", field=field, found=found, expected="a whole number")
    return int(value)
