"""Answers to questions: search, then a reader in a worker thread, its events streamed as they come."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager
from typing import Protocol

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
from embeddings.errors import InvalidInput, Overloaded
from generation.answering import Answerer
from generation.types import Answer, CitationFound, MessageDelta, Source

MAX_PASSAGES = 20
# Questions that wait for a decoder. A later one is better asked again than kept waiting.
MAX_WAITING = 15

DecodedEvent = MessageDelta | CitationFound | Answer


class Searcher(Protocol):
    """What answers need of the search service."""

    async def search(self, collection: str, wanted: SearchInput) -> SearchOutput: ...


class Collections(Protocol):
    """What answers need of the collection service."""

    async def get(self, name: str) -> CollectionInfo: ...


class AnswerService:
    """Answers questions, `at_once` of them at a time; the others wait in a bounded queue.

    at_once: 1 for a reader that takes one question after another.
    """

    def __init__(
        self,
        search: Searcher,
        collections: Collections,
        answerer: Answerer,
        settings: Settings,
        at_once: int = 1,
    ) -> None:
        self._search = search
        self._collections = collections
        self._answerer = answerer
        self._max_question_chars = settings.max_query_chars
        self._decoder = ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="decoder")
        self._most_in_flight = MAX_WAITING + at_once
        self._in_flight = 0
        self._closing = threading.Event()

    async def answer(self, collection: str, wanted: AnswerInput) -> AsyncGenerator[AnswerEvent, None]:
        """Yield the hits, the answer as it is decoded, its citations, and the `AnswerOutput` last.

        Closing the generator stops the decoder at its next token. What is wrong with the request is raised
        before the first event: InvalidInput, NotFound (the collection), Overloaded (too many questions wait).
        """
        started = time.perf_counter()
        _check_input(wanted, self._max_question_chars)
        with self._place_in_queue():
            settings = (await self._collections.get(collection)).settings
            query = SearchInput(
                wanted.question, wanted.mode, wanted.passages, 0, wanted.filter, rerank=wanted.rerank
            )
            found = await self._search.search(collection, query)
            yield found
            async with aclosing(self._decode(wanted, found, settings)) as events:
                async for event in events:
                    yield _finish(event, found, started) if isinstance(event, Answer) else event

    def close(self) -> None:
        """Stop the decoder at its next token and wait for it. Questions in flight end with Overloaded."""
        self._closing.set()
        self._decoder.shutdown(wait=True, cancel_futures=True)

    @contextmanager
    def _place_in_queue(self) -> Iterator[None]:
        if self._closing.is_set():
            raise _stopping()
        most = self._most_in_flight
        if self._in_flight >= most:
            raise Overloaded(
                f"{self._in_flight} questions are being answered, the service takes {most} at once",
                found=f"{self._in_flight} in flight",
                expected=f"fewer than {most}",
                next_step="ask again in a few seconds",
            )
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

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

        turn = self._decoder.submit(work)
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
