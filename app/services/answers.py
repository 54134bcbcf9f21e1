"""Answers to questions: search, then a reader in a worker thread, its events streamed as they come."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from contextvars import copy_context
from typing import Protocol

from app.overload import Gate
from app.services.follow_ups import check_history, standalone
from app.services.types import (
    AnswerEvent,
    AnswerInput,
    AnswerOutput,
    CollectionInfo,
    CollectionSettings,
    Hit,
    SearchInput,
    SearchOutput,
)
from app.settings import Settings
from app.telemetry.notes import note_answer, note_question
from embeddings.errors import InvalidInput, Overloaded
from embeddings.stages import stage
from generation.answering import Answerer
from generation.causal.rewriting import QuestionRewriter
from generation.types import Answer, CitationFound, MessageDelta, Source

MAX_PASSAGES = 20

DecodedEvent = MessageDelta | CitationFound | Answer


class Searcher(Protocol):
    """What answers need of the search service."""

    async def search(self, collection: str, wanted: SearchInput) -> SearchOutput: ...


class Collections(Protocol):
    """What answers need of the collection service."""

    async def get(self, name: str) -> CollectionInfo: ...


class AnswerService:
    """Answers questions, `at_once` of them at a time; the others wait in a bounded queue.

    at_once: 1 for a reader that takes one question after another. rewriter: of follow-up questions; None
    where the decoder can't.
    """

    def __init__(
        self,
        search: Searcher,
        collections: Collections,
        answerer: Answerer,
        settings: Settings,
        at_once: int = 1,
        rewriter: QuestionRewriter | None = None,
    ) -> None:
        self._search = search
        self._collections = collections
        self._answerer = answerer
        self._rewriter = rewriter
        self._max_question_chars = settings.max_query_chars
        self._decoder = ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="decoder")
        self._gate = Gate("questions", max(settings.max_in_flight_answers, at_once))
        self._closing = threading.Event()

    @property
    def in_flight(self) -> int:
        """Questions that are being answered or wait for it."""
        return self._gate.in_flight

    @property
    def can_rewrite(self) -> bool:
        """Whether a question may have a history."""
        return self._rewriter is not None

    async def answer(self, collection: str, wanted: AnswerInput) -> AsyncGenerator[AnswerEvent, None]:
        """Yield the hits, the answer as it is decoded, its citations, and the `AnswerOutput` last.

        A question with a history is first rewritten as one that stands by itself: the hits tell it as their
        query. Closing the generator stops the decoder at its next token. What is wrong with the request is
        raised before the first event: InvalidInput (also for a history where the decoder can't rewrite),
        NotFound (the collection), Overloaded (too many questions wait).
        """
        started = time.perf_counter()
        _check_input(wanted, self._max_question_chars)
        check_history(wanted, self.can_rewrite)
        asked = note_question(collection, wanted)
        with self._place_in_queue():
            settings = (await self._collections.get(collection)).settings
            wanted = await standalone(self._rewriter, wanted, self._max_question_chars)
            query = SearchInput(
                wanted.question, wanted.mode, wanted.passages, 0, wanted.filter, rerank=wanted.rerank
            )
            found = await self._search.search(collection, query)
            yield found
            async with aclosing(self._decode(wanted, found, settings)) as events:
                async for event in events:
                    if not isinstance(event, Answer):
                        yield event
                        continue
                    output = _finish(event, found, started)
                    note_answer(asked, output)
                    yield output

    def close(self) -> None:
        """Stop the decoder at its next token and wait for it. Questions in flight end with Overloaded."""
        self._closing.set()
        self._decoder.shutdown(wait=True, cancel_futures=True)

    @contextmanager
    def _place_in_queue(self) -> Iterator[None]:
        if self._closing.is_set():
            raise _stopping()
        with self._gate.place():
            yield

    async def _decode(
        self, wanted: AnswerInput, found: SearchOutput, settings: CollectionSettings
    ) -> AsyncGenerator[DecodedEvent, None]:
        """Run the answerer in a worker thread and yield its events here, an exception of its own raised."""
        answerer = self._answerer.prompted(settings.prompt)
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[DecodedEvent | Exception | None] = asyncio.Queue()
        abandoned = threading.Event()

        def send(item: DecodedEvent | Exception | None) -> None:
            loop.call_soon_threadsafe(arrived.put_nowait, item)

        def work() -> None:
            try:
                with stage("decode"):
                    for event in answerer.answer(
                        wanted.question,
                        [source_of(hit) for hit in found.hits],
                        wanted.sampling,
                        refuse_below=settings.refusal_threshold,
                        cancelled=lambda: abandoned.is_set() or self._closing.is_set(),
                    ):
                        send(event)
                send(_stopping() if self._closing.is_set() else None)
            except Exception as error:  # raised again in the event loop
                send(error)

        turn = self._decoder.submit(copy_context().run, work)
        turn.add_done_callback(lambda done: send(_stopping()) if done.cancelled() else None)
        try:
            while (event := await arrived.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            abandoned.set()
            turn.cancel()


def _check_input(wanted: AnswerInput, max_question_chars: int) -> None:
    length = len(wanted.question)
    if not wanted.question.strip():
        raise InvalidInput("the question is empty", field="question", found="no text", expected="a question")
    if length > max_question_chars:
        raise InvalidInput(
            f"the question has {length} characters, at most {max_question_chars} are read",
            field="question",
            found=f"{length} characters",
            expected=f"at most {max_question_chars} characters",
            next_step="ask a shorter question",
        )
    if not 1 <= wanted.passages <= MAX_PASSAGES:
        expected = f"a whole number from 1 to {MAX_PASSAGES}"
        raise InvalidInput(
            f"passages is {wanted.passages}, expected {expected}",
            field="passages",
            found=str(wanted.passages),
            expected=expected,
        )


def source_of(hit: Hit) -> Source:
    """A hit as what an answer may cite."""
    return Source(hit.document_id, hit.version, hit.start, hit.end, hit.text, hit.title, hit.page)


def _finish(answer: Answer, found: SearchOutput, started: float) -> AnswerOutput:
    return AnswerOutput(answer, found, took_ms=(time.perf_counter() - started) * 1000)


def _stopping() -> Overloaded:
    return Overloaded("the service is stopping", next_step="ask again when it has started")
