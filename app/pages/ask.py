"""The first page: a question, its answer with footnotes as it is written, the passages below it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import Redirect, Stream

from app.db.collections import no_such_collection
from app.http.access import FILTERED, principal_of
from app.http.answer_stream import encode_event
from app.http.collections import CollectionName
from app.http.disconnect import while_connected
from app.http.event_stream import EventStream
from app.http.problems import Problem
from app.overload import Load
from app.pages.answer_views import answer_view, hit_views
from app.pages.conditions import COMPARISONS
from app.pages.preferences import local_path
from app.pages.questions import MAX_TURNS, Question
from app.pages.rendering import fragment, markup, page, wants_fragment
from app.resources import Resources
from app.services.conversation_types import Asker
from app.services.feedback_types import FeedbackInput, FeedbackKind
from app.services.types import AnswerEvent, AnswerOutput, CollectionInfo, Scope, SearchOutput
from embeddings.errors import Forbidden, InvalidInput
from generation.types import MessageDelta

# Documents whose metadata names the fields that the filter offers.
SAMPLED = 50
PageRequest = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a visitor thinks of a passage, or of each passage that an answer cites: `place` is repeated.

    place: JSON, [document id, version, start, end]; a form with one of them sends no list.
    """

    q: str
    kind: FeedbackKind
    release: int
    place: list[str] | str
    next: str = "/"


# A function of its own: a controller would claim the OPTIONS of this path, where TEI has a route too.
@get(
    "/",
    scope=Scope.READ,
    load=Load.SEARCH,
    include_in_schema=False,
    opt={"page": True, "collections": FILTERED},
)
async def ask_page(request: PageRequest, resources: NamedDependency[Resources]) -> Response[str]:
    """The page, with what an address asks for: the passages of a search, and without scripts the answer.

    An answer else comes by `events`. For htmx, the next passages of a search alone.
    """
    question, collections = await _asked(request, resources)
    found = await _found(request, resources, question)
    if found and wants_fragment(request):
        return fragment(request, "fragments/hits.html", **found)
    context: dict[str, Any] = {
        "question": question,
        "collections": collections,
        "fields": await _field_names(resources, question.collection),
        "comparisons": COMPARISONS,
        "reranker": resources.reranking.scorer == "reranker",
        "found": found,
        "said": await _said(request, resources, question),
    }
    return page(request, "ask.html", **context)


class AskController(Controller):
    """Answers and verdicts on them, for the first page."""

    opt = {"collections": FILTERED}  # noqa: RUF012

    @get("/ask", scope=Scope.READ, load=Load.ANSWER)
    async def events(self, request: PageRequest, resources: NamedDependency[Resources]) -> Stream:
        """The answer as server-sent events whose data is JSON: `found` and `answer` carry HTML, `draft` the
        next words, `error` HTML. Closing the connection stops the work.
        """
        question, _ = await _asked(request, resources)
        if not wants_fragment(request):
            raise _not_ours()
        events = _answer(request, resources, question)
        encode = partial(_encode, request, question, resources.answers.can_rewrite)
        return await while_connected(
            request, EventStream[AnswerEvent](events, encode, partial(_encode_failure, request)).respond()
        )

    @post("/collections/{name:str}/verdicts", scope=Scope.WRITE)
    async def give_verdict(
        self,
        request: PageRequest,
        name: CollectionName,
        data: Annotated[Verdict, Body(media_type=RequestEncodingType.URL_ENCODED)],
        resources: NamedDependency[Resources],
    ) -> Response[str] | Redirect:
        """Keep what a visitor thinks of what was found."""
        for place in [data.place] if isinstance(data.place, str) else data.place:
            document_id, version, start, end = _place(place)
            await resources.feedback.add(
                name, FeedbackInput(data.q, data.kind, document_id, version, start, end, data.release)
            )
        if wants_fragment(request):
            return fragment(request, "fragments/verdict.html", 200, kind=data.kind)
        return Redirect(local_path(data.next), status_code=303)


async def _asked(request: PageRequest, resources: Resources) -> tuple[Question, list[CollectionInfo]]:
    """The question, of a collection that the visitor may see, and those among which he may choose.

    Raises NotFound for another collection.
    """
    principal = principal_of(request)
    collections = [info for info in await resources.collections.list() if principal.may_see(info.name)]
    question = Question.of(request.query_params)
    if question.collection is None and collections:
        question = question.changed(collection=collections[0].name)
    if question.collection is not None and question.collection not in {info.name for info in collections}:
        raise no_such_collection(question.collection)
    return question, collections


async def _found(request: PageRequest, resources: Resources, question: Question) -> dict[str, Any] | None:
    """What the page shows at once: of a search its hits; of a question, without scripts, its answer."""
    if not question.text or question.collection is None or not (question.search_only or question.plain):
        return None
    if question.search_only:
        work = resources.search.search(question.collection, question.to_search_input())
        return _search_context(question, await while_connected(request, work))
    async with aclosing(_answer(request, resources, question)) as events:
        outputs = [event async for event in events if isinstance(event, AnswerOutput)]
    return _answer_context(question, outputs[-1], resources.answers.can_rewrite)


def _answer(
    request: PageRequest, resources: Resources, question: Question
) -> AsyncGenerator[AnswerEvent, None]:
    asker = Asker.of(principal_of(request))
    return resources.conversations.answer(
        question.collection or "", question.to_answer_input(), asker, question.conversation
    )


async def _said(
    request: PageRequest, resources: Resources, question: Question
) -> Sequence[tuple[str, str | None]]:
    """The questions and answers that came before: in the address, or of the kept conversation."""
    if question.conversation is None or question.collection is None:
        return question.turns
    asker = Asker.of(principal_of(request))
    said = await resources.conversations.kept.said(
        question.collection, asker, question.conversation, MAX_TURNS
    )
    return [(turn.question, turn.answer) for turn in said.turns]


def _search_context(question: Question, output: SearchOutput) -> dict[str, Any]:
    """What `fragments/hits.html` shows."""
    hits = hit_views(question.collection or "", output.hits)
    more = question.changed(offset=question.offset + len(hits)) if question.search_only and hits else None
    return {"question": question, "search": output, "hits": hits, "more": more, "answer": None}


def _answer_context(question: Question, output: AnswerOutput, follow_ups: bool) -> dict[str, Any]:
    """What `fragments/answer.html` shows, and the hits with the answer's quotes marked.

    follow_ups: the decoder can answer questions that build on this one.
    """
    name = question.collection or ""
    hits = hit_views(name, output.search.hits, output.answer.citations)
    view = answer_view(name, output)
    text = output.answer.text
    next_one = question.followed(output.search.query, text, output.conversation_id) if text else None
    followed = {"followed": next_one if follow_ups else None}
    return _search_context(question, output.search) | {"hits": hits, "answer": view} | followed


def _encode(request: PageRequest, question: Question, follow_ups: bool, event: AnswerEvent) -> bytes:
    """The event for the page; what it has no use for is a comment."""
    match event:
        case SearchOutput():
            return encode_event("found", _hits_markup(request, _search_context(question, event)))
        case MessageDelta():
            return encode_event("draft", event.text)
        case AnswerOutput():
            context = _answer_context(question, event, follow_ups)
            answer = markup(request, "fragments/answer.html", **context)
            return encode_event("answer", answer) + encode_event("found", _hits_markup(request, context))
        case _:
            return b":\n\n"


def _hits_markup(request: PageRequest, context: dict[str, Any]) -> str:
    return markup(request, "fragments/results.html", **context)


def _encode_failure(request: PageRequest, problem: Problem) -> bytes:
    return encode_event("error", markup(request, "fragments/problem.html", problem=problem))


async def _field_names(resources: Resources, collection: str | None) -> list[str]:
    """Metadata fields that the first documents have, for the filter to offer."""
    if collection is None:
        return []
    sample = await resources.documents.list(collection, SAMPLED)
    return sorted({field for document in sample.documents for field in document.metadata})


def _not_ours() -> Forbidden:
    """A header that another site's page may not send: what is kept of a conversation is for ours to add."""
    return Forbidden(
        "this address is for the page's own script",
        field="HX-Request",
        found="nothing",
        expected="true",
        next_step="open the first page, or POST /v1/collections/NAME/answer",
    )


def _place(text: str) -> tuple[str, int, int, int]:
    """A place of a form. Raises InvalidInput for what the page did not write."""
    try:
        return msgspec.json.decode(text, type=tuple[str, int, int, int])
    except msgspec.DecodeError as error:
        raise InvalidInput(
            "place is not [document id, version, start, end]",
            field="place",
            found=text[:80],
            expected="JSON as the page writes it",
        ) from error
